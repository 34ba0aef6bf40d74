//! Files that hold a secret: read within bounds, and only what is a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::regular_file::{self, ReadError};

/// The largest file that can be a secret: a key has tens of bytes and a URL hundreds. More is a
/// wrong path, or has no end.
const BYTES_MAX: u64 = 16 * 1024;

/// The largest file of the listener's key: it may hold the certificate chain as well.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// What others than the owner may do to a file: read it, as its group.
const MODE_MAX: u32 = 0o640;

/// Where containers find their secrets, with a mode that is not theirs to choose.
const MOUNTED: &str = "/run/secrets";

/// The text of a file, and what is to be warned about.
pub struct Text {
    /// What is in it.
    pub text: String,
    /// Who else may read it.
    pub warning: Option<String>,
}

/// Reads a file. `any_mode`: who may read it is known and accepted.
///
/// A path that leads nowhere is not shown: it may be the secret, in the wrong place.
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
            "the file {shown} is larger than {} KiB, so it is no secret; see whether the path is \
             right",
            bytes_max / 1024
        ),
    })
}

/// Who else may read or change a file, where that is more than a secret's file should allow.
pub fn warning(path: &Path, any_mode: bool) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    // The owner may do what he likes.
    if any_mode || mode & !(MODE_MAX | 0o700) == 0 || is_mounted(path) {
        return None;
    }
    Some(format!(
        "the file {} has the mode {mode:04o}: others than its owner and its group can read or \
         change it; give it 0640 or less (chmod 640), or say mode = \"any\" beside it",
        path.display()
    ))
}

/// By its own path and by what links lead to: `/var/run` is `/run`.
fn is_mounted(path: &Path) -> bool {
    let real = path.canonicalize();
    path.starts_with(MOUNTED) || real.is_ok_and(|real| real.starts_with(MOUNTED))
}
