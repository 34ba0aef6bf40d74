//! Chooses free ports of the loopback interface at random, and reserves them.
//!
//! The ports lie below the range from which the system takes ports for outgoing connections. So no
//! outgoing connection can take the port of a server that is down, and the server can use the port
//! again when it restarts.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// The first port that can be chosen. Common services have lower ports.
const FIRST: u16 = 15_000;

/// The last port that can be chosen. The ephemeral ports of Linux (from 32768) and of the BSDs
/// (from 49152) are higher.
const LAST: u16 = 31_999;

/// How many random ports are tried before the search for a free one fails. With a few hundred
/// ports in use, about one try in fifty meets a used port.
const TRIES_MAX: u32 = 500;

/// A port of 127.0.0.1 for a process that is started later, perhaps several times. While this
/// value is held, no other test on this machine can get the same port from this module.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    /// A UDP socket with the same port number, which is the reservation: no other process can open
    /// it. No server of these tests uses UDP. The system frees the socket however the process
    /// ends.
    _reservation: UdpSocket,
}

impl ReservedPort {
    /// Reserves a port on which nothing listens.
    ///
    /// # Errors
    /// When no free port is found, or the system has no randomness to choose with.
    pub fn choose() -> io::Result<Self> {
        for _ in 0..TRIES_MAX {
            let number = FIRST + u16::from_be_bytes(random()?) % (LAST - FIRST + 1);
            let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _reservation: reservation,
                });
            }
        }
        Err(io::Error::other("no free port on 127.0.0.1"))
    }

    /// Returns the number of the port.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Returns `N` different ports of 127.0.0.1 on which nothing listens.
///
/// The ports are reserved only until all of them are chosen. Another process may take a port after
/// that. So a server whose start finds its port taken must choose new ports.
///
/// # Errors
/// When no free port is found, or the system has no randomness to choose with.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    Ok(reserve::<N>()?.map(|reserved| reserved.number))
}

/// Returns `N` ports that stay reserved while the values are held. A program that does not use
/// this module does not see the reservations, and may still take such a port.
pub(super) fn reserve<const N: usize>() -> io::Result<[ReservedPort; N]> {
    let held: io::Result<Vec<ReservedPort>> = (0..N).map(|_| ReservedPort::choose()).collect();
    held?
        .try_into()
        .map_err(|_| io::Error::other("fewer ports were reserved than requested"))
}

/// Returns a name or password that cannot be guessed: 32 hexadecimal digits.
///
/// # Errors
/// When the system has no randomness.
pub fn random_name() -> io::Result<String> {
    Ok(random::<16>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_can_be_bound() -> io::Result<()> {
        let ports = free::<8>()?;
        let mut seen = ports.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), ports.len());
        for port in ports {
            assert!((FIRST..=LAST).contains(&port));
        }
        Ok(())
    }

    #[test]
    fn a_taken_port_is_not_offered() -> io::Result<()> {
        let taken = free::<1>()?[0];
        let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, taken))?;
        for _ in 0..200 {
            assert_ne!(free::<1>()?[0], taken);
        }
        Ok(())
    }

    #[test]
    fn a_reserved_port_is_offered_to_no_other_and_can_be_listened_on() -> io::Result<()> {
        let reserved = ReservedPort::choose()?;
        let number = reserved.number();
        assert!((FIRST..=LAST).contains(&number));
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_err());
        // The reservation does not prevent listening on the port. A process may even restart and
        // listen on it again.
        for _ in 0..2 {
            drop(TcpListener::bind((Ipv4Addr::LOCALHOST, number))?);
        }
        drop(reserved);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).map(drop)
    }

    #[test]
    fn names_differ() -> io::Result<()> {
        let name = random_name()?;
        assert_eq!(name.len(), 32);
        assert_ne!(name, random_name()?);
        Ok(())
    }
}
