//! Files that hold a secret: read within bounds, and only what is a file.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

/// The largest file that can be a secret: a key has tens of bytes and a URL hundreds. More is a
/// wrong path, or has no end.
const BYTES_MAX: u64 = 16 * 1024;

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
    let kind = std::fs::metadata(path).map_err(|error| {
        format!(
            "the file that it names cannot be found ({error}); its path is not shown, since it \
             may be the secret itself"
        )
    })?;
    let shown = path.display();
    if !kind.is_file() {
        // Opened, a FIFO would wait for a writer, and a device may have no end.
        let what = what_it_is(&kind);
        return Err(format!(
            "{shown} is {what}; a secret is read from a regular file only"
        ));
    }
    let unreadable = |error| format!("the file {shown} cannot be read ({error})");
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!(
            "the file {shown} is larger than {} KiB, so it is no secret; see whether the path is \
             right",
            BYTES_MAX / 1024
        ));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| format!("the file {shown} is not text in UTF-8"))?;
    let warning = (!any_mode).then(|| too_open(path, &kind)).flatten();
    Ok(Text { text, warning })
}

fn what_it_is(kind: &Metadata) -> &'static str {
    let kind = kind.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Who else may read or change it, where that is more than a secret's file should allow.
fn too_open(path: &Path, kind: &Metadata) -> Option<String> {
    let mode = kind.permissions().mode() & 0o777;
    // The owner may do what he likes.
    if mode & !(MODE_MAX | 0o700) == 0 || is_mounted(path) {
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
