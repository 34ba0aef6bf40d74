//! The logs of the services of a case.

use super::World;

impl World {
    /// Returns the last lines of each service's log, for the text of an error.
    pub fn tails(&self) -> String {
        let logs = ["ingest 1", "ingest 2", "worker 1", "worker 2"];
        let tail = |name: &&str| {
            let path = self.path(&format!("{name}.log"));
            path.is_file().then(|| {
                format!(
                    "-- {name}\n{}\n",
                    hookbox_testkit::servers::process::tail(&path)
                )
            })
        };
        logs.iter().filter_map(tail).collect()
    }

    /// Returns the name and the full text of every log.
    pub fn logs(&self) -> Vec<(String, String)> {
        let files = std::fs::read_dir(self.folder.path()).into_iter().flatten();
        let logs = files.flatten().filter_map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let bytes = name
                .ends_with(".log")
                .then(|| std::fs::read(file.path()).ok());
            Some((name, String::from_utf8_lossy(&bytes??).into_owned()))
        });
        logs.collect()
    }
}
