//! Files that hold a secret: read within bounds, and only what is a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::regular_file::{self, ReadError};

/// The largest file that can be a secret: a key has tens of bytes and a URL hundreds. A larger one
/// is a wrong path, or endless.
const BYTES_MAX: u64 = 16 * 1024;

/// The largest file of the listener's key: it may hold the certificate chain as well.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// The most permissive mode of a secret's file: its group may read it.
const MODE_MAX: u32 = 0o640;

/// Where containers find their secrets, with a mode that hookbox's operator does not choose.
const MOUNTED: &str = "/run/secrets";

/// The text of a file, and a warning about it.
pub struct Text {
    /// What is in it.
    pub text: String,
    /// A warning if others may read it.
    pub warning: Option<String>,
}

/// Reads a file. `any_mode`: its permissions are known and accepted.
///
/// A path that does not exist is not shown: it may be the secret, in the wrong place.
pub fn read(path: &Path, any_mode: bool) -> Result<Text, String> {
    let bytes = read_bytes(path, BYTES_MAX)?;
    let shown = path.display();
    let text =
        String::from_utf8(bytes).map_err(|_| format!("the file {shown} is not text in UTF-8"))?;
    let warning = warning(path, any_mode);
    Ok(Text { text, warning })
}

/// Reads the listener's key, as PEM, under the same rules.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    read_bytes(path, PEM_BYTES_MAX)
}

fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    regular_file::read(path, bytes_max).map_err(|error| match error {
        ReadError::NotFound(error) => format!(
            "the file that it names cannot be found ({error}); its path is not shown, since it \
             may be the secret itself"
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

/// A warning about the permissions of a file, where they exceed what a secret's file should have.
pub fn warning(path: &Path, any_mode: bool) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    // The owner may have any permission.
    if any_mode || mode & !(MODE_MAX | 0o700) == 0 || is_mounted(path) {
        return None;
    }
    Some(format!(
        "the file {} has the mode {mode:04o}: others than its owner and its group can read or \
         change it; give it 0640 or less (chmod 640), or set mode = \"any\" beside it",
        path.display()
    ))
}

/// By its own path and by the path that links lead to: `/var/run` is `/run`.
fn is_mounted(path: &Path) -> bool {
    let real = path.canonicalize();
    path.starts_with(MOUNTED) || real.is_ok_and(|real| real.starts_with(MOUNTED))
}
