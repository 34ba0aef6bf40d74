//! A private nginx in front of an ingest. It acts as a load balancer that keeps its connections to
//! the ingest open and reuses them.

use std::path::PathBuf;
use std::time::Duration;

use super::account::Account;
use super::find;
use super::folder::{Ending, Folder};
use super::process::{Process, ready, tail, takes_connections};
use super::{ReservedPort, ServerError};

const NAME: &str = "nginx";

/// The longest wait until nginx has started. The start takes less than a second, but much longer
/// on a machine that is compiling at the same time.
const READY_MAX: Duration = Duration::from_secs(30);

/// The config of nginx. It keeps up to 512 idle connections to the ingest, more than a test opens.
/// It keeps each of them for 60 s, which is the default of nginx.
const CONFIG: &str = "daemon off;
pid FOLDER/pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path FOLDER/client;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    upstream ingest {
        server 127.0.0.1:SERVER;
        keepalive 512;
        keepalive_timeout 60s;
    }
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://ingest;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }
    }
}
";

/// A private nginx. When it is dropped, its process is ended and its folder is removed.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: u16,
    _reserved: ReservedPort,
    // Fields are dropped in order. This is the last field, so that the folder is removed after the
    // process has ended.
    folder: Folder,
}

impl Nginx {
    /// Finds nginx on this machine, and starts it in front of the ingest on port `server` of
    /// 127.0.0.1.
    ///
    /// # Errors
    /// When there is no nginx, or it does not start.
    pub fn before(server: u16) -> Result<Nginx, ServerError> {
        let program = find::nginx()?;
        let folder = Folder::new("nginx", Account::for_server("www-data")?)?;
        let reserved = ReservedPort::choose().map_err(ServerError::io("choosing a port"))?;
        let port = reserved.number();
        let config = CONFIG
            .replace("FOLDER", &folder.path().display().to_string())
            .replace("SERVER", &server.to_string())
            .replace("PORT", &port.to_string());
        let config = folder.write("nginx.conf", &config)?;
        let mut command = folder.launch(&program, Ending::Kill);
        command.arg("-p").arg(folder.path()).arg("-c").arg(config);
        command.args(["-e", "stderr"]);
        let mut process = Process::start(command, Ending::Kill, &log(&folder))?;
        let answers = || takes_connections(port);
        let log_tail = || tail(&log(&folder));
        if let Err(error) = ready(&mut process, NAME, READY_MAX, answers, log_tail) {
            let _ = process.end(&folder);
            return Err(error);
        }
        Ok(Nginx {
            process,
            port,
            _reserved: reserved,
            folder,
        })
    }

    /// Returns the port that nginx listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // If this fails, the folder's keeper (the process that removes the folder) ends nginx.
        let _ = self.process.end(&self.folder);
    }
}

fn log(folder: &Folder) -> PathBuf {
    folder.path().join("nginx.log")
}
