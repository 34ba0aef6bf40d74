//! A private RabbitMQ. It has its own Erlang port mapper (`epmd`), home folder, Erlang cookie,
//! user and password. It listens only on the loopback interface.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::find::{self, Rabbitmq};
use super::folder::{Ending, Folder};
use super::process::{self, Process, run, tail, wait_until};
use super::{ReservedPort, ServerError, ports};

const NAME: &str = "RabbitMQ";

/// The longest wait until the broker is ready. A start takes eight seconds on two cores, and much
/// longer on a machine that is compiling at the same time.
pub(super) const READY_MAX: Duration = Duration::from_secs(120);

/// The time limit of one check whether the broker answers.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How many times the start is tried. Each further try chooses other ports, because another
/// process may have taken one of the first ports in the meantime.
const STARTS_MAX: u32 = 3;

/// The arguments of Erlang for two schedulers that do not busy-wait, because the tests need the
/// processors.
const SCHEDULERS: &str = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none";

/// The argument that makes Erlang's distribution listen on the loopback interface only.
const LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

/// The content of the file `enabled_plugins` for a broker without plugins.
pub(super) const NO_PLUGINS: &str = "[].\n";

/// The environment variable with which a test run asks for Khepri, the alternative metadata store
/// of RabbitMQ 4.
const KHEPRI: &str = "HOOKBOX_TEST_KHEPRI";

/// The user that the broker creates instead of `guest`.
pub(super) const USER: &str = "hookbox";

/// A private RabbitMQ. When it is dropped, its processes are ended and its folder is removed.
#[derive(Debug)]
pub struct RabbitmqServer {
    process: Process,
    epmd: Process,
    found: Rabbitmq,
    ports: Ports,
    reserved: Vec<ReservedPort>,
    url: String,
    // Fields are dropped in order. This is the last field, so that the folder is removed after the
    // processes that use it have ended.
    folder: Folder,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

impl RabbitmqServer {
    /// Finds the newest RabbitMQ of this machine, and starts it.
    ///
    /// # Errors
    /// When no RabbitMQ is new enough, or it does not start.
    pub fn start() -> Result<RabbitmqServer, ServerError> {
        RabbitmqServer::start_found(&find::rabbitmq()?, "")
    }

    /// Starts the newest RabbitMQ with its management plugin. Also returns the URL of the HTTP API,
    /// without user and password.
    ///
    /// # Errors
    /// When RabbitMQ does not start.
    pub fn start_managed() -> Result<(RabbitmqServer, String), ServerError> {
        let found = find::rabbitmq()?;
        let mut starts = 1;
        loop {
            let managed = ReservedPort::choose().map_err(ServerError::io("choosing a port"))?;
            let port = managed.number();
            let settings = format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n");
            match start_with(&found, &settings, "[rabbitmq_management].\n") {
                Err(error) if error.is_port_taken() && starts < STARTS_MAX => starts += 1,
                Err(error) => return Err(error),
                Ok(mut server) => {
                    server.reserved.push(managed);
                    return Ok((server, format!("http://127.0.0.1:{port}")));
                }
            }
        }
    }

    /// Starts a RabbitMQ that [`super::find`] has found, with additional lines in its
    /// `rabbitmq.conf`.
    ///
    /// # Errors
    /// When RabbitMQ does not start.
    pub fn start_found(found: &Rabbitmq, settings: &str) -> Result<RabbitmqServer, ServerError> {
        let mut starts = 1;
        loop {
            match start_with(found, settings, NO_PLUGINS) {
                Err(error) if error.is_port_taken() && starts < STARTS_MAX => starts += 1,
                result => return result,
            }
        }
    }

    /// Returns the administrator's URL of the default virtual host. The URL holds the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the AMQP port on 127.0.0.1. A restart does not change it.
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// Returns the version of the broker.
    pub fn version(&self) -> find::Version {
        self.found.version
    }

    /// Returns the process id of Erlang's virtual machine.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the folder of the broker.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the broker with SIGKILL, as in a crash.
    ///
    /// # Errors
    /// When the broker does not end.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.process.kill(&self.folder)
    }

    /// Freezes the broker: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.process.stop()
    }

    /// Resumes the broker after [`RabbitmqServer::stop`].
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn cont(&self) -> Result<(), ServerError> {
        self.process.cont()
    }

    /// Ends the broker if it runs, starts it again on the same data and port, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When the broker does not end or does not start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.process.end(&self.folder)?;
        if self.epmd.has_ended() {
            self.epmd = launch_epmd(&self.found, self.ports, &self.folder)?;
        }
        // `ready` searches the log for a line about a complete start. The old log is renamed, so
        // that the line of an earlier start is not found.
        let _ = fs::rename(
            broker_log(&self.folder),
            self.folder.path().join("log/before.log"),
        );
        self.process = launch(&self.found, self.ports, &self.folder)?;
        ready(&mut self.process, self.ports.amqp, &self.folder)
    }

    /// Runs `rabbitmqctl` on this broker (for example `["set_vm_memory_high_watermark",
    /// "0.000001"]`), and returns its output.
    ///
    /// # Errors
    /// When the command fails.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, ServerError> {
        let program = self.found.scripts.join("rabbitmqctl");
        let mut command = self.folder.launch(&program, Ending::Kill);
        environment(&mut command, self.ports, &self.folder);
        command
            .env("RABBITMQ_CTL_ERL_ARGS", LOOPBACK)
            .args(arguments);
        run(
            &self.folder,
            &format!("rabbitmqctl {}", arguments.join(" ")),
            command,
        )
    }

    /// Makes the broker keep its metadata (queues, users, bindings) in Khepri instead of Mnesia.
    fn use_khepri(&self) -> Result<(), ServerError> {
        // Khepri is stable from version 4.1 on. In earlier versions, it must be enabled as an
        // experimental feature.
        let experimental = (self.version() < find::Version(4, 1, 0)).then_some("--experimental");
        let words = ["enable_feature_flag"].into_iter().chain(experimental);
        let words: Vec<&str> = words.chain(["khepri_db"]).collect();
        self.ctl(&words).map(drop)
    }

    /// Leaves the broker running when this value is dropped. Returns the process id of the folder's
    /// keeper: a SIGTERM to this process ends the broker and removes its folder.
    ///
    /// # Errors
    /// When the keeper has ended.
    pub fn keep(mut self) -> Result<u32, ServerError> {
        self.folder.keep()
    }
}

impl Drop for RabbitmqServer {
    fn drop(&mut self) {
        if self.folder.is_ours() {
            // If a process cannot be ended here, the folder's keeper (the process that removes the
            // folder) ends it.
            let _ = self.process.end(&self.folder);
            let _ = self.epmd.end(&self.folder);
        }
    }
}

fn start_with(
    found: &Rabbitmq,
    settings: &str,
    plugins: &str,
) -> Result<RabbitmqServer, ServerError> {
    let folder = Folder::for_server("rabbitmq", "rabbitmq", found.root.as_ref())?;
    let password = ports::random_name().map_err(ServerError::io("choosing a password"))?;
    let reserved = ports::reserve::<3>().map_err(ServerError::io("choosing ports"))?;
    let [amqp, distribution, epmd] = [0, 1, 2].map(|which: usize| reserved[which].number());
    let ports = Ports {
        amqp,
        distribution,
        epmd,
    };
    configure(&folder, ports, &password, settings)?;
    folder.write("enabled_plugins", plugins)?;
    let mut epmd = launch_epmd(found, ports, &folder)?;
    let mut process = launch(found, ports, &folder)?;
    if let Err(error) = ready(&mut process, ports.amqp, &folder) {
        let _ = process.end(&folder);
        let _ = epmd.end(&folder);
        return Err(error);
    }
    let url = format!("amqp://{USER}:{password}@127.0.0.1:{}/%2f", ports.amqp);
    let server = RabbitmqServer {
        process,
        epmd,
        found: found.clone(),
        ports,
        reserved: reserved.into(),
        url,
        folder,
    };
    if env::var_os(KHEPRI).is_some_and(|on| !on.is_empty()) {
        server.use_khepri()?;
    }
    Ok(server)
}

fn configure(
    folder: &Folder,
    ports: Ports,
    password: &str,
    settings: &str,
) -> Result<(), ServerError> {
    for name in ["home", "log", "mnesia", "conf.d"] {
        folder.subfolder(name)?;
    }
    folder.write("advanced.config", "[].\n")?;
    let lines = format!(
        "listeners.tcp.default = 127.0.0.1:{}\n\
         default_user = {USER}\ndefault_pass = {password}\n\
         log.console = false\nlog.file.level = info\n\
         # With these limits, other work on the machine causes no alarm. Tests that need\n\
         # an alarm change the limits.\n\
         disk_free_limit.absolute = 10MB\nvm_memory_high_watermark.absolute = 1GB\n{settings}\n",
        ports.amqp
    );
    folder.write("rabbitmq.conf", &lines).map(drop)
}

/// Starts Erlang's port mapper in the foreground, as a process that the test ends. A port mapper
/// that RabbitMQ itself starts would stay after the test.
fn launch_epmd(found: &Rabbitmq, ports: Ports, folder: &Folder) -> Result<Process, ServerError> {
    let mut command = folder.launch(&found.epmd, Ending::Kill);
    command
        .arg("-port")
        .arg(ports.epmd.to_string())
        .args(["-address", "127.0.0.1"]);
    let log = folder.path().join("log/epmd.log");
    let mut process = Process::start(command, Ending::Kill, &log)?;
    let address = (Ipv4Addr::LOCALHOST, ports.epmd).into();
    let mut ended = false;
    let listens = wait_until(READY_MAX, || {
        ended = process.has_ended();
        ended || TcpStream::connect_timeout(&address, ANSWER_MAX).is_ok()
    });
    if ended || !listens {
        let _ = process.end(folder);
        let log = format!(
            "{}\nthe port of Erlang's port mapper may be in use",
            tail(&log)
        );
        return Err(ServerError::Ended {
            server: "Erlang's port mapper",
            log,
        });
    }
    Ok(process)
}

fn launch(found: &Rabbitmq, ports: Ports, folder: &Folder) -> Result<Process, ServerError> {
    let mut command = folder.launch(&found.scripts.join("rabbitmq-server"), Ending::Kill);
    environment(&mut command, ports, folder);
    // With `RABBITMQ_ALLOW_INPUT`, the start script replaces itself with the Erlang process.
    // Otherwise the script would stay as the parent of the Erlang process, and the process id would
    // be that of the script and not of the broker. `-noinput` is the argument that the script would
    // otherwise add.
    command.env("RABBITMQ_ALLOW_INPUT", "1");
    command.env("RABBITMQ_SERVER_START_ARGS", "-noinput -start_epmd false");
    command.env(
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        format!("{SCHEDULERS} {LOOPBACK}"),
    );
    Process::start(command, Ending::Kill, &folder.path().join("log/start.log"))
}

fn environment(command: &mut Command, ports: Ports, folder: &Folder) {
    let inside = |name: &str| folder.path().join(name);
    command
        .env("HOME", inside("home"))
        .env("LC_ALL", "C.UTF-8")
        .env("ERL_EPMD_PORT", ports.epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", "hookbox@localhost")
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", inside("mnesia"))
        .env("RABBITMQ_LOG_BASE", inside("log"))
        .env("RABBITMQ_LOGS", broker_log(folder))
        .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq"))
        .env("RABBITMQ_CONFIG_FILES", inside("conf.d"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", inside("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins"))
        .env("RABBITMQ_FEATURE_FLAGS_FILE", inside("feature_flags"))
        .env("RABBITMQ_PID_FILE", inside("pid"))
        // The broker must not read the settings that this machine has for its own RabbitMQ.
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
}

fn broker_log(folder: &Folder) -> PathBuf {
    folder.path().join("log/broker.log")
}

fn ready(process: &mut Process, port: u16, folder: &Folder) -> Result<(), ServerError> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let answers = || has_started(&broker_log(folder)) && answers(address).unwrap_or(false);
    process::ready(process, NAME, READY_MAX, answers, || {
        let start = folder.path().join("log/start.log");
        format!("{}\n{}", tail(&start), tail(&broker_log(folder)))
    })
}

/// Returns whether the log reports a complete start. A listening port is not enough, because the
/// broker listens before its start is complete.
pub(super) fn has_started(log: &Path) -> bool {
    let text = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text).contains("Server startup complete")
}

/// Returns whether the broker answers AMQP's protocol header with a method frame, whose first byte
/// is 1.
pub(super) fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    Ok(kind == [1])
}
