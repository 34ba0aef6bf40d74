//! Lists the files that are checked for changes: the files in use, even if a newer config names
//! other files.

use std::path::PathBuf;

use super::Reloader;

impl Reloader {
    /// Returns all files that are checked for changes.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        [self.secrets(), self.certificate(), self.schema_folders()].concat()
    }

    /// Returns the groups of files that are only valid together: the certificate with its private
    /// key, and the JSON Schemas in one folder.
    pub(super) fn together(&self) -> Vec<Vec<PathBuf>> {
        let folders = self.schema_folders().into_iter().map(|folder| vec![folder]);
        std::iter::once(self.certificate()).chain(folders).collect()
    }

    pub(super) fn secrets(&self) -> Vec<PathBuf> {
        let sources = self.config.sources.iter();
        let files = sources.flat_map(|source| source.secret_files(&self.config.path));
        let is_ingest = self.targets.ingest.is_some();
        files.filter(|_| is_ingest).collect()
    }

    pub(super) fn certificate(&self) -> Vec<PathBuf> {
        let files = self.config.ingest.tls.iter();
        let files = files.flat_map(|(certificate, key)| [certificate.clone(), key.clone()]);
        let is_shown = self.targets.certificate.is_some();
        files.filter(|_| is_shown).collect()
    }

    pub(super) fn schema_folders(&self) -> Vec<PathBuf> {
        let sources = self.config.sources.iter();
        let folders = sources.filter_map(|source| source.schemas.clone());
        let is_worker = self.targets.schemas.is_some();
        folders.filter(|_| is_worker).collect()
    }
}
