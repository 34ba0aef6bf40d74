//! Installs missing servers with the system's package manager, if that needs no password.
//!
//! System services of the packages are not started, because the tests run servers of their own.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A server, or another program, that the tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// PostgreSQL.
    Postgres,
    /// RabbitMQ.
    Rabbitmq,
    /// PgBouncer, a connection pooler for PostgreSQL.
    Pgbouncer,
    /// nginx, as a load balancer in front of an ingest.
    Nginx,
    /// libfaketime, which shifts the clock of a process.
    Faketime,
    /// Python, which runs the libraries that are written in it.
    Python,
    /// Node.js with npm, which run the libraries that are written in JavaScript.
    Node,
}

impl Server {
    /// The interpreters of other languages. Only tests of the package `hookbox-tests` need them.
    pub const INTERPRETERS: [Server; 2] = [Server::Python, Server::Node];

    /// All servers and programs except the interpreters.
    pub const ALL: [Server; 5] = [
        Server::Postgres,
        Server::Rabbitmq,
        Server::Pgbouncer,
        Server::Nginx,
        Server::Faketime,
    ];

    /// The name of the server or program, as messages show it.
    pub fn name(self) -> &'static str {
        match self {
            Server::Postgres => "PostgreSQL",
            Server::Rabbitmq => "RabbitMQ",
            Server::Pgbouncer => "PgBouncer",
            Server::Nginx => "nginx",
            Server::Faketime => "libfaketime",
            Server::Python => "Python",
            Server::Node => "Node.js",
        }
    }
}

/// Installs the given servers.
///
/// # Errors
/// When the package manager fails or must not be used. The error then contains the command to type.
pub fn install(servers: &[Server]) -> Result<()> {
    let names: Vec<&str> = servers.iter().map(|server| server.name()).collect();
    let names = names.join(" and ");
    let Some(manager) = Manager::of_this_system() else {
        bail!("this system has no package manager that is known here: install {names}");
    };
    let packages = manager.packages(servers);
    let root = output("id", &["-u"]).as_deref() == Some("0");
    let mut command = match (manager, root) {
        // Homebrew refuses to run as root, and works without the rights of root.
        (Manager::Brew, _) => Command::new("sh"),
        (Manager::Apt | Manager::Dnf | Manager::Apk, true) => Command::new("sh"),
        (Manager::Apt | Manager::Dnf | Manager::Apk, false) => {
            if output("sudo", &["-n", "true"]).is_none() {
                bail!(
                    "{names} must be installed first. Type:\n\n    {}\n",
                    manager.line(&packages)
                );
            }
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "sh"]);
            sudo
        }
    };
    eprintln!("installing: {}", manager.line(&packages));
    let status = command
        .arg("-c")
        .arg(manager.script(&packages))
        .stdin(Stdio::null())
        .status()
        .context("starting the package manager")?;
    if !status.success() {
        bail!(
            "the package manager failed ({status}); to run it yourself:\n\n    {}\n",
            manager.line(&packages)
        );
    }
    Ok(())
}

/// A package manager that can install without asking questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Apk,
    Brew,
}

impl Manager {
    fn of_this_system() -> Option<Manager> {
        let path = env::var_os("PATH").unwrap_or_default();
        let known = [
            (Manager::Apt, "apt-get"),
            (Manager::Dnf, "dnf"),
            (Manager::Apk, "apk"),
            (Manager::Brew, "brew"),
        ];
        let is_there = |program: &str| env::split_paths(&path).any(|it| it.join(program).exists());
        known
            .into_iter()
            .find(|(_, program)| is_there(program))
            .map(|(manager, _)| manager)
    }

    fn packages(self, servers: &[Server]) -> Vec<&'static str> {
        let packages = |server: &Server| -> &'static [&'static str] {
            match (self, server) {
                (Manager::Apt | Manager::Apk, Server::Postgres) => &["postgresql"],
                (Manager::Dnf, Server::Postgres) => &["postgresql-server"],
                (Manager::Brew, Server::Postgres) => &["postgresql@17"],
                (Manager::Apt | Manager::Apk | Manager::Dnf, Server::Rabbitmq) => {
                    &["rabbitmq-server"]
                }
                (Manager::Brew, Server::Rabbitmq) => &["rabbitmq"],
                (_, Server::Pgbouncer) => &["pgbouncer"],
                // Debian's full package `nginx` has modules that need a dozen libraries. The tests
                // do not use these modules.
                (Manager::Apt, Server::Nginx) => &["nginx-light"],
                (Manager::Dnf | Manager::Apk | Manager::Brew, Server::Nginx) => &["nginx"],
                (_, Server::Faketime) => &["libfaketime"],
                (Manager::Apt, Server::Python) => &["python3", "python3-venv"],
                (Manager::Dnf | Manager::Apk | Manager::Brew, Server::Python) => &["python3"],
                (Manager::Apt | Manager::Apk | Manager::Dnf, Server::Node) => &["nodejs", "npm"],
                (Manager::Brew, Server::Node) => &["node"],
            }
        };
        servers.iter().flat_map(packages).copied().collect()
    }

    /// Returns the command that a person would type.
    fn line(self, packages: &[&str]) -> String {
        let packages = packages.join(" ");
        match self {
            Manager::Apt => {
                format!("sudo apt-get install -y --no-install-recommends {packages}")
            }
            Manager::Dnf => {
                format!("sudo dnf install -y --setopt=install_weak_deps=False {packages}")
            }
            Manager::Apk => format!("sudo apk add {packages}"),
            Manager::Brew => format!("brew install {packages}"),
        }
    }

    /// Returns the script to run. Its output goes to standard error, like the messages of xtask.
    fn script(self, packages: &[&str]) -> String {
        let install = self.line(packages).replacen("sudo ", "", 1);
        match self {
            Manager::Apt => {
                let unit = |package: &&str| match *package {
                    "libfaketime" | "python3" | "python3-venv" | "nodejs" | "npm" => None,
                    "nginx-light" => Some("nginx.service".to_owned()),
                    package => Some(format!("{package}.service")),
                };
                let units: Vec<_> = packages.iter().filter_map(unit).collect();
                APT.replace("INSTALL", &install)
                    .replace("UNITS", &units.join(" "))
            }
            Manager::Dnf | Manager::Apk | Manager::Brew => format!("exec >&2\n{install}\n"),
        }
    }
}

/// The packages of Debian start their services at once unless `policy-rc.d` exits with 101, and at
/// every boot unless the services are disabled. A policy that existed before is restored in any
/// case.
const APT: &str = r#"
exec >&2
policy=/usr/sbin/policy-rc.d
saved=$policy.before-hookbox
restore() {
    rm -f "$policy"
    if [ -e "$saved" ]; then mv "$saved" "$policy"; fi
}
trap restore EXIT
trap 'exit 130' INT TERM HUP
if [ -e "$policy" ] && ! grep -q 'hookbox: start nothing' "$policy"; then
    mv "$policy" "$saved"
fi
printf '#!/bin/sh\n# hookbox: start nothing while its tests install servers\nexit 101\n' >"$policy"
chmod 755 "$policy"
export DEBIAN_FRONTEND=noninteractive
# If a package list cannot be fetched, it may be one that is not needed. So the script continues.
apt-get update -q || true
INSTALL || exit
if [ -n "UNITS" ] && command -v systemctl >/dev/null; then systemctl disable UNITS || true; fi
"#;

/// Returns the output of a program, if the program succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_to_type_for_each_manager() {
        let line = |manager: Manager| manager.line(&manager.packages(&Server::ALL));
        assert_eq!(
            line(Manager::Apt),
            "sudo apt-get install -y --no-install-recommends postgresql rabbitmq-server pgbouncer \
             nginx-light libfaketime"
        );
        assert_eq!(
            line(Manager::Dnf),
            "sudo dnf install -y --setopt=install_weak_deps=False postgresql-server \
             rabbitmq-server pgbouncer nginx libfaketime"
        );
        assert_eq!(
            line(Manager::Apk),
            "sudo apk add postgresql rabbitmq-server pgbouncer nginx libfaketime"
        );
        assert_eq!(
            line(Manager::Brew),
            "brew install postgresql@17 rabbitmq pgbouncer nginx libfaketime"
        );
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(
            Manager::Apt.packages(&[Server::Rabbitmq]),
            ["rabbitmq-server"]
        );
        let interpreters = Manager::Apt.packages(&Server::INTERPRETERS);
        assert_eq!(interpreters, ["python3", "python3-venv", "nodejs", "npm"]);
        // The packages of the interpreters have no services that would have to be disabled.
        let script = Manager::Apt.script(&interpreters);
        assert!(script.contains("if [ -n \"\" ] && "), "{script}");
    }

    #[test]
    fn the_script_for_debian_is_a_script() -> Result<()> {
        let script = Manager::Apt.script(&Manager::Apt.packages(&Server::ALL));
        assert!(
            script.contains("\napt-get install -y --no-install-recommends postgresql rabbitmq-")
        );
        assert!(script.contains("systemctl disable postgresql.service rabbitmq-server.service"));
        let checked = Command::new("sh").args(["-n", "-c", &script]).status()?;
        assert!(checked.success());
        Ok(())
    }
}
