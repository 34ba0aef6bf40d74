//! Reads files that a config names: only regular files, and only up to a size limit. Opening a
//! named pipe would block until it has a writer, and a device may have no end.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no file at the path.
    #[error("the file cannot be found ({0})")]
    NotFound(io::Error),
    /// The file is not a regular file.
    #[error("this is {0}, and only a regular file is read")]
    NotRegular(&'static str),
    /// The file cannot be opened or read.
    #[error("the file cannot be read ({0})")]
    Unreadable(io::Error),
    /// The file is larger than this limit, in bytes.
    #[error("the file is larger than {} KiB; check whether the path is right", .0 / 1024)]
    TooLarge(u64),
}

/// Reads the metadata of a regular file without opening it.
pub fn check(path: &Path) -> Result<Metadata, ReadError> {
    let found = std::fs::metadata(path).map_err(ReadError::NotFound)?;
    if found.is_file() {
        Ok(found)
    } else {
        Err(ReadError::NotRegular(kind_of(&found)))
    }
}

/// Reads a regular file, or a link to one, of at most `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    check(path)?;
    let file = File::open(path).map_err(ReadError::Unreadable)?;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(ReadError::Unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::TooLarge(bytes_max));
    }
    Ok(bytes)
}

fn kind_of(found: &Metadata) -> &'static str {
    let kind = found.file_type();
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_within_the_bound_are_read() {
        let name = format!("hookbox-regular-file-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let (file, pipe) = (folder.join("file"), folder.join("pipe"));
        std::fs::write(&file, [b'a'; 2048]).unwrap();
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(read(&file, 2048).unwrap().len(), 2048);
        for (path, bytes_max, why) in [
            (file.as_path(), 2047, "the file is larger than 1 KiB; check"),
            (&pipe, 2048, "this is a named pipe, and only a regular file"),
            (&folder, 2048, "this is a folder, and only a regular file"),
            (Path::new("/dev/zero"), 2048, "this is a device, and only"),
            (&folder.join("absent"), 2048, "the file cannot be found ("),
        ] {
            let error = read(path, bytes_max).unwrap_err().to_string();
            assert!(error.starts_with(why), "{}: {error}", path.display());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
