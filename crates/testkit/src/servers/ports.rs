//! Free ports of the loopback interface, and the random bytes that choose them.
//!
//! The ports lie below the range from which systems hand out ports for outgoing connections, so
//! that a server that is down for a moment finds its port free when it comes back.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Below the ephemeral range of Linux (32768…) and of the BSDs (49152…), above common services.
const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;

/// Tries before giving up: with a few hundred ports in use, one try in fifty fails.
const TRIES_MAX: u32 = 500;

/// A port of 127.0.0.1 for a process that is started later, and perhaps several times. As long as
/// this is held, no test on this machine that chooses a port here gets it.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    /// The same number in UDP, which no server here uses: the system frees it when its owner ends,
    /// however it ends.
    _reservation: UdpSocket,
}

impl ReservedPort {
    /// One on which nothing listens.
    ///
    /// # Errors
    /// When none is found, or the system has no randomness to choose with.
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

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// `N` different ports of 127.0.0.1 on which nothing listens.
///
/// They are reserved until all are chosen, then let go: another process may still take one before
/// it is used, so a start that finds its port taken chooses again.
///
/// # Errors
/// When none is found, or the system has no randomness to choose with.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    Ok(reserve::<N>()?.map(|reserved| reserved.number))
}

/// The same, reserved for as long as they are held. A program that knows nothing of that may still
/// take one.
pub(super) fn reserve<const N: usize>() -> io::Result<[ReservedPort; N]> {
    let held: io::Result<Vec<ReservedPort>> = (0..N).map(|_| ReservedPort::choose()).collect();
    held?
        .try_into()
        .map_err(|_| io::Error::other("as many ports as were wanted"))
}

/// A name or password that cannot be guessed: 32 hexadecimal digits.
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
        // Again and again, as by a process that is restarted.
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
