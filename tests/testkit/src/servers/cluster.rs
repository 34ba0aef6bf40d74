//! A private cluster of RabbitMQ nodes, each on a separate host ([`super::network`]). Tests cut it
//! in two, kill and restart nodes, and add nodes.
//!
//! The nodes use `pause_minority`, as the RabbitMQ documentation advises for quorum queues
//! (<https://www.rabbitmq.com/docs/partitions>). Their `net_ticktime` is 15 s, so that they notice
//! a lost node within that time and a test does not wait for a minute.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServerError;
use super::account::Account;
use super::find::Rabbitmq;
use super::folder::{Ending, Folder};
use super::network::Network;
use super::ports;
use super::process::{Process, run, tail, wait_until};
use super::rabbitmq::{NO_PLUGINS, READY_MAX, USER, answers, has_started};

/// The AMQP port of every node. The nodes can share it because each has its own host.
const PORT: u16 = 5672;

/// The content of the file that enables the plugin with the HTTP API. On each host, the API
/// listens on its usual port.
const MANAGEMENT: &str = "[rabbitmq_management].\n";

/// The arguments that give each node one scheduler, because the nodes share the processors with the
/// program under test.
const SCHEDULERS: &str = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none";

/// A private cluster. When it is dropped, its nodes are ended and its folder is removed.
#[derive(Debug)]
pub struct RabbitmqCluster {
    found: Rabbitmq,
    network: Network,
    nodes: Vec<Node>,
    password: String,
    /// The content of the file that names the enabled plugins.
    plugins: &'static str,
    cut: Vec<(u8, u8)>,
    // Fields are dropped in order. This is the last field, so that the folder is removed after the
    // processes that use it have ended.
    folder: Folder,
}

#[derive(Debug)]
struct Node {
    process: Process,
    /// Erlang's port mapper on the node's host.
    epmd: Process,
}

impl RabbitmqCluster {
    /// Starts this many nodes, with the management plugin if `managed`.
    ///
    /// # Errors
    /// When network namespaces cannot be made here, or a node does not start.
    pub fn start(
        found: &Rabbitmq,
        nodes: u8,
        managed: bool,
    ) -> Result<RabbitmqCluster, ServerError> {
        if found.root.is_some() {
            return Err(ServerError::Command {
                doing: "starting a cluster".to_owned(),
                output: "the RabbitMQ of HOOKBOX_TEST_ROOT cannot run as a cluster".to_owned(),
            });
        }
        let folder = Folder::new("cluster", Account::Ourselves)?;
        folder.subfolder("home")?;
        let cookie = ports::random_name().map_err(ServerError::io("choosing a cookie"))?;
        folder.write("home/.erlang.cookie", &cookie)?;
        let mut cluster = RabbitmqCluster {
            found: found.clone(),
            network: Network::new(&folder)?,
            nodes: Vec::new(),
            password: ports::random_name().map_err(ServerError::io("choosing a password"))?,
            plugins: if managed { MANAGEMENT } else { NO_PLUGINS },
            cut: Vec::new(),
            folder,
        };
        for _ in 0..nodes {
            cluster.add()?;
        }
        Ok(cluster)
    }

    /// Starts one more node, which joins the others, and returns its number. Numbers start at 1.
    ///
    /// # Errors
    /// When the node does not start.
    pub fn add(&mut self) -> Result<u8, ServerError> {
        let host = self.network.add(&self.folder)?;
        for name in ["", "/mnesia", "/log", "/conf.d"] {
            self.folder.subfolder(&format!("node{host}{name}"))?;
        }
        self.configure(host)?;
        let mut command = self.network.command(&self.folder, host, &self.found.epmd);
        command.env("ERL_EPMD_PORT", "4369");
        let log = self.inside(host, "log/epmd.log");
        let node = Node {
            epmd: Process::start(command, Ending::Kill, &log)?,
            process: self.launch(host)?,
        };
        self.nodes.push(node);
        self.ready(host)?;
        Ok(host)
    }

    fn configure(&self, host: u8) -> Result<(), ServerError> {
        self.folder
            .write(&format!("node{host}/enabled_plugins"), self.plugins)?;
        self.folder
            .write(&format!("node{host}/advanced.config"), "[].\n")?;
        let nodes = (1..=host).map(|number| {
            format!(
                "cluster_formation.classic_config.nodes.{number} = {}\n",
                self.name(number)
            )
        });
        let nodes: String = nodes.collect();
        let lines = format!(
            "listeners.tcp.default = {}:{PORT}\n\
             default_user = {USER}\ndefault_pass = {}\n\
             log.console = false\nlog.file.level = info\n\
             disk_free_limit.absolute = 10MB\nvm_memory_high_watermark.absolute = 1GB\n\
             cluster_partition_handling = pause_minority\nnet_ticktime = 15\n\
             cluster_formation.peer_discovery_backend = classic_config\n{nodes}",
            self.network.address(host),
            self.password,
        );
        let path = format!("node{host}/rabbitmq.conf");
        self.folder.write(&path, &lines).map(drop)
    }

    fn launch(&self, host: u8) -> Result<Process, ServerError> {
        let program = self.found.scripts.join("rabbitmq-server");
        let mut command = self.network.command(&self.folder, host, &program);
        self.environment(&mut command, host);
        // With `RABBITMQ_ALLOW_INPUT`, the start script replaces itself with the Erlang process.
        // Otherwise the script would stay, as the parent that watches the Erlang process.
        command
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput -start_epmd false")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", SCHEDULERS);
        Process::start(command, Ending::Kill, &self.inside(host, "log/start.log"))
    }

    fn environment(&self, command: &mut Command, host: u8) {
        let inside = |name: &str| self.inside(host, name);
        command
            .env("HOME", self.folder.path().join("home"))
            .env("LC_ALL", "C.UTF-8")
            .env("RABBITMQ_USE_LONGNAME", "true")
            .env("RABBITMQ_NODENAME", self.name(host))
            .env("RABBITMQ_DIST_PORT", "25672")
            .env("RABBITMQ_MNESIA_BASE", inside("mnesia"))
            .env("RABBITMQ_LOG_BASE", inside("log"))
            .env("RABBITMQ_LOGS", inside("log/broker.log"))
            .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq"))
            .env("RABBITMQ_CONFIG_FILES", inside("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", inside("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins"))
            .env("RABBITMQ_FEATURE_FLAGS_FILE", inside("feature_flags"))
            .env("RABBITMQ_PID_FILE", inside("pid"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
    }

    fn ready(&mut self, host: u8) -> Result<(), ServerError> {
        let address = SocketAddr::from((self.network.address(host), PORT));
        let log = self.inside(host, "log/broker.log");
        let start = self.inside(host, "log/start.log");
        let mut ended = false;
        let answered = wait_until(READY_MAX, || {
            ended = self.node(host).process.has_ended();
            ended || (has_started(&log) && answers(address).unwrap_or(false))
        });
        let log = || format!("{}\n{}", tail(&start), tail(&log));
        let server = "a node of RabbitMQ";
        match (ended, answered) {
            (true, _) => Err(ServerError::Ended { server, log: log() }),
            (false, true) => Ok(()),
            (false, false) => Err(ServerError::NotReady {
                server,
                waited: READY_MAX,
                log: log(),
            }),
        }
    }

    /// Returns the name of a node in the cluster.
    pub fn name(&self, node: u8) -> String {
        format!("rabbit@{}", self.network.address(node))
    }

    /// Returns a URL with the addresses of these nodes, for the administrator and the default
    /// virtual host. The URL contains the password.
    pub fn url(&self, nodes: &[u8]) -> String {
        let hosts = nodes
            .iter()
            .map(|&node| format!("{}:{PORT}", self.network.address(node)));
        let hosts: Vec<String> = hosts.collect();
        format!("amqp://{USER}:{}@{}/%2f", self.password, hosts.join(","))
    }

    /// Returns the URL of a node's management API, without user and password.
    pub fn management(&self, node: u8) -> String {
        format!("http://{}:15672", self.network.address(node))
    }

    /// Returns the user's password, which must not appear in any log.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs `rabbitmqctl` or `rabbitmq-queues` on a node, and returns the output.
    ///
    /// # Errors
    /// When the command fails.
    pub fn ctl(&self, node: u8, program: &str, arguments: &[&str]) -> Result<String, ServerError> {
        let path = self.found.scripts.join(program);
        let mut command = self.network.command(&self.folder, node, &path);
        self.environment(&mut command, node);
        command.args(arguments);
        let doing = format!("{program} {} on node {node}", arguments.join(" "));
        run(&self.folder, &doing, command)
    }

    /// Kills a node with SIGKILL.
    ///
    /// # Errors
    /// When the node does not end.
    pub fn kill(&mut self, node: u8) -> Result<(), ServerError> {
        let place = usize::from(node) - 1;
        self.nodes[place].process.kill(&self.folder)
    }

    /// Stops a node in an orderly way, and waits until its process has ended.
    ///
    /// # Errors
    /// When the node does not end.
    pub fn stop(&mut self, node: u8) -> Result<(), ServerError> {
        self.ctl(node, "rabbitmqctl", &["stop"])?;
        wait_until(READY_MAX, || self.node(node).process.has_ended());
        self.kill(node)
    }

    /// Starts a node that has ended, on its old data. If `wait` is true, waits until the node
    /// answers. A caller that restarts several nodes must not wait for the first one, because that
    /// node may wait for the other nodes.
    ///
    /// # Errors
    /// When the node does not start.
    pub fn restart(&mut self, node: u8, wait: bool) -> Result<(), ServerError> {
        let log = self.inside(node, "log/broker.log");
        let _ = std::fs::rename(&log, self.inside(node, "log/before.log"));
        let process = self.launch(node)?;
        self.node(node).process = process;
        if wait { self.ready(node) } else { Ok(()) }
    }

    /// Returns whether the process of a node runs.
    pub fn runs(&mut self, node: u8) -> bool {
        !self.node(node).process.has_ended()
    }

    /// Cuts the connection between two nodes. Both stay reachable from the machine that runs the
    /// test.
    ///
    /// # Errors
    /// When the operating system refuses the change.
    pub fn cut(&mut self, one: u8, other: u8) -> Result<(), ServerError> {
        self.network.cut(&self.folder, one, other)?;
        self.cut.push((one, other));
        Ok(())
    }

    /// Reconnects all nodes that were cut.
    ///
    /// # Errors
    /// When the operating system refuses the change.
    pub fn heal(&mut self) -> Result<(), ServerError> {
        for (one, other) in std::mem::take(&mut self.cut) {
            self.network.heal(&self.folder, one, other)?;
        }
        Ok(())
    }

    fn node(&mut self, number: u8) -> &mut Node {
        &mut self.nodes[usize::from(number) - 1]
    }

    fn inside(&self, host: u8, name: &str) -> PathBuf {
        self.folder.path().join(format!("node{host}")).join(name)
    }

    /// Returns the folder of the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for RabbitmqCluster {
    fn drop(&mut self) {
        // If a process cannot be ended here, the folder's keeper (the process that removes the
        // folder) ends it.
        for node in &mut self.nodes {
            let _ = node.process.end(&self.folder);
            let _ = node.epmd.end(&self.folder);
        }
        self.network.end(&self.folder);
    }
}
