//! Several hosts on one machine: network namespaces behind a virtual switch, for tests of network
//! failures.
//!
//! A network namespace usually has a name and stays until it is deleted. A namespace of this
//! module has no name: a process in a [`Folder`] holds it, so it ends with its connections however
//! the owner ends. The machine itself is on the same network and reaches every host, even if
//! connections between the hosts are cut. This module needs root and Linux; without them
//! [`Network::new`] fails.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::ServerError;
use super::folder::{Ending, Folder};
use super::ports::random;
use super::process::{Process, run, wait_until};

/// How many subnets are tried before the search for an unused one fails.
const TRIES_MAX: u32 = 20;

/// The longest wait until a started process is in its new namespace.
const APART_MAX: Duration = Duration::from_secs(10);

/// The last byte of the address that the machine itself has on the network.
const OURS: u8 = 254;

/// Checks whether this process can make network namespaces.
///
/// # Errors
/// The error of the operating system.
pub fn available() -> Result<(), String> {
    let mut command = Command::new("unshare");
    let output = command.args(["--net", "ip", "link"]).output();
    let output = output.map_err(|error| format!("unshare cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "no network namespaces can be made: {}",
        said.trim()
    ))
}

/// A switch and hosts. Each host has an address: 10.99.N.1, 10.99.N.2 and so on.
#[derive(Debug)]
pub struct Network {
    subnet: u8,
    switch: Process,
    hosts: Vec<Process>,
}

impl Network {
    /// Makes a network without hosts.
    ///
    /// # Errors
    /// When no namespaces can be made here.
    pub fn new(folder: &Folder) -> Result<Network, ServerError> {
        let switch = apart(folder)?;
        let inside = |arguments: &[&str]| inside(folder, &switch, "ip", arguments).map(drop);
        inside(&["link", "set", "lo", "up"])?;
        inside(&["link", "add", "switch", "type", "bridge"])?;
        inside(&["link", "set", "switch", "up"])?;
        let holder = switch.id().to_string();
        let mut tries = 0;
        let subnet = loop {
            let [subnet] = random().map_err(ServerError::io("choosing a subnet"))?;
            tries += 1;
            let made = ip(
                folder,
                &[
                    "link",
                    "add",
                    &uplink(subnet),
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "uplink",
                    "netns",
                    &holder,
                ],
            );
            match made {
                Ok(()) => break subnet,
                // The subnet is in use by another network of this machine, so another subnet is
                // tried.
                Err(_) if tries < TRIES_MAX => {}
                Err(error) => return Err(error),
            }
        };
        inside(&["link", "set", "uplink", "master", "switch", "up"])?;
        let address = format!("10.99.{subnet}.{OURS}/24");
        ip(
            folder,
            &["address", "add", &address, "dev", &uplink(subnet)],
        )?;
        ip(folder, &["link", "set", &uplink(subnet), "up"])?;
        Ok(Network {
            subnet,
            switch,
            hosts: Vec::new(),
        })
    }

    /// Adds a host, and returns its number. Numbers start at 1.
    ///
    /// # Errors
    /// When the operating system refuses an operation.
    pub fn add(&mut self, folder: &Folder) -> Result<u8, ServerError> {
        let host = apart(folder)?;
        let number = u8::try_from(self.hosts.len() + 1).unwrap_or(OURS);
        let (link, holder) = (format!("h{number}"), host.id().to_string());
        let switch = |arguments: &[&str]| inside(folder, &self.switch, "ip", arguments).map(drop);
        switch(&[
            "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &holder,
        ])?;
        switch(&["link", "set", &link, "master", "switch", "up"])?;
        let address = format!("{}/24", self.address(number));
        let own = |arguments: &[&str]| inside(folder, &host, "ip", arguments).map(drop);
        own(&["address", "add", &address, "dev", "eth0"])?;
        own(&["link", "set", "eth0", "up"])?;
        own(&["link", "set", "lo", "up"])?;
        self.hosts.push(host);
        Ok(number)
    }

    /// Returns the address of a host.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.subnet, host)
    }

    /// Returns a command that runs a program on a host.
    pub fn command(&self, folder: &Folder, host: u8, program: &Path) -> Command {
        let mut command = folder.launch(Path::new("nsenter"), Ending::Kill);
        command
            .arg(format!("--net=/proc/{}/ns/net", self.host(host).id()))
            .arg("--")
            .arg(program);
        command
    }

    /// Cuts the connection between two hosts. No packet passes, and neither host is notified.
    ///
    /// # Errors
    /// When the operating system refuses the change.
    pub fn cut(&self, folder: &Folder, one: u8, other: u8) -> Result<(), ServerError> {
        self.route(folder, "replace", one, other)?;
        self.route(folder, "replace", other, one)
    }

    /// Restores the connection between two hosts.
    ///
    /// # Errors
    /// When the connection was not cut.
    pub fn heal(&self, folder: &Folder, one: u8, other: u8) -> Result<(), ServerError> {
        self.route(folder, "delete", one, other)?;
        self.route(folder, "delete", other, one)
    }

    fn route(&self, folder: &Folder, verb: &str, at: u8, to: u8) -> Result<(), ServerError> {
        let to = format!("{}/32", self.address(to));
        let arguments = ["route", verb, "blackhole", &to];
        inside(folder, self.host(at), "ip", &arguments).map(drop)
    }

    fn host(&self, number: u8) -> &Process {
        &self.hosts[usize::from(number) - 1]
    }

    /// Ends every host and the switch.
    pub fn end(&mut self, folder: &Folder) {
        for host in self.hosts.iter_mut().chain([&mut self.switch]) {
            // If a host cannot be ended here, the folder's keeper (the process that removes the
            // folder) ends it.
            let _ = host.end(folder);
        }
    }
}

/// Returns the name of the network interface that connects this machine to the switch.
fn uplink(subnet: u8) -> String {
    format!("hookbox{subnet}")
}

/// Starts a process in a new network namespace. The namespace exists until that process ends.
fn apart(folder: &Folder) -> Result<Process, ServerError> {
    let ours = fs::read_link("/proc/self/ns/net").map_err(ServerError::io(
        "reading the network namespace of this process",
    ))?;
    let mut command = folder.launch(Path::new("unshare"), Ending::Kill);
    command.args(["--net", "sleep", "infinity"]);
    let log = folder.path().join("network.log");
    let mut holder = Process::start(command, Ending::Kill, &log)?;
    let place = format!("/proc/{}/ns/net", holder.id());
    let is_apart = || fs::read_link(&place).is_ok_and(|theirs| theirs != ours);
    let mut ended = false;
    let waited = wait_until(APART_MAX, || {
        ended = holder.has_ended();
        ended || is_apart()
    });
    if ended || !waited {
        return Err(ServerError::Command {
            doing: "making a network namespace, which needs root".to_owned(),
            output: super::process::tail(&log),
        });
    }
    Ok(holder)
}

fn ip(folder: &Folder, arguments: &[&str]) -> Result<(), ServerError> {
    let mut command = folder.launch(Path::new("ip"), Ending::Kill);
    command.args(arguments);
    run(folder, &format!("ip {}", arguments.join(" ")), command).map(drop)
}

/// Runs a program in the network namespace of the process `holder`.
fn inside(
    folder: &Folder,
    holder: &Process,
    program: &str,
    arguments: &[&str],
) -> Result<String, ServerError> {
    let mut command = folder.launch(Path::new("nsenter"), Ending::Kill);
    command
        .arg(format!("--net=/proc/{}/ns/net", holder.id()))
        .args(["--", program])
        .args(arguments);
    let doing = format!("{program} {} on a host", arguments.join(" "));
    run(folder, &doing, command)
}
