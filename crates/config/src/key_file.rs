//! Reads files that contain a secret: only regular files, and only up to a size limit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::regular_file::{self, ReadError};

/// The largest file that can be a secret: a key has tens of bytes, and a URL hundreds. A larger
/// file means a wrong path, or a device without an end.
const BYTES_MAX: u64 = 16 * 1024;

/// The largest file of the listener's private key, which may also contain the certificate chain.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// The most permissive mode for a file with a secret: readable by owner and group.
const MODE_MAX: u32 = 0o640;

/// The folder where containers find their secrets. The operator does not choose the mode of the
/// files there, so no mode of them causes a warning.
const MOUNTED: &str = "/run/secrets";

/// The text of a file with a secret, and a warning about the file.
pub struct Text {
    /// The text in the file.
    pub text: String,
    /// A warning, if users other than owner and group may read the file.
    pub warning: Option<String>,
}

/// Reads a file with a secret. `any_mode` means that the config allows any permissions of the file.
///
/// The path of a file that does not exist is never shown, because the path may be a secret in the
/// wrong place.
pub fn read(path: &Path, any_mode: bool) -> Result<Text, String> {
    let bytes = read_bytes(path, BYTES_MAX)?;
    let shown = path.display();
    let text =
        String::from_utf8(bytes).map_err(|_| format!("the file {shown} is not text in UTF-8"))?;
    let warning = warning(path, any_mode);
    Ok(Text { text, warning })
}

/// Reads the listener's private key as PEM, with the same checks as for other secrets.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    read_bytes(path, PEM_BYTES_MAX)
}

fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    regular_file::read(path, bytes_max).map_err(|error| match error {
        ReadError::NotFound(error) => format!(
            "the referenced file cannot be found ({error}); its path is not shown, because the \
             path may be the secret itself"
        ),
        ReadError::NotRegular(kind) => {
            format!("{shown} is {kind}; a secret is read from a regular file only")
        }
        ReadError::Unreadable(error) => format!("the file {shown} cannot be read ({error})"),
        ReadError::TooLarge(bytes_max) => format!(
            "the file {shown} is larger than {} KiB, so it is no secret; check whether the path is \
             right",
            bytes_max / 1024
        ),
    })
}

/// Returns a warning if a file has more permissions than a file with a secret should have.
pub fn warning(path: &Path, any_mode: bool) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    // The owner may have any permission, so only those of the group and of others are checked.
    if any_mode || mode & !(MODE_MAX | 0o700) == 0 || is_mounted(path) {
        return None;
    }
    Some(format!(
        "the file {} has the mode {mode:04o}: others than its owner and its group can read or \
         change it; give it 0640 or less (chmod 640), or set mode = \"any\" beside it",
        path.display()
    ))
}

/// Returns whether a file is in the folder of mounted secrets, by its own path or after following
/// links: `/var/run` is a link to `/run`.
fn is_mounted(path: &Path) -> bool {
    let real = path.canonicalize();
    path.starts_with(MOUNTED) || real.is_ok_and(|real| real.starts_with(MOUNTED))
}
