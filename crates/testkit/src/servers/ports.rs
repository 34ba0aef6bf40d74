//! Free ports of the loopback interface, and the random bytes that choose them.
//!
//! The ports lie below the range from which systems hand out ports for outgoing connections, so
//! that a server that is down for a moment finds its port free when it comes back.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};

/// Below the ephemeral range of Linux (32768…) and of the BSDs (49152…), above common services.
const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;

/// Tries before giving up: with a few hundred ports in use, one try in fifty fails.
const TRIES_MAX: u32 = 500;

/// `N` different ports of 127.0.0.1 on which nobody listens.
///
/// They are held until all are chosen, then let go: somebody else may still take one before it
/// is used, so a start that finds its port taken chooses again.
///
/// # Errors
/// When none is found, or the system has no randomness to choose with.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    let mut held: Vec<TcpListener> = Vec::with_capacity(N);
    let mut tries = 0;
    while held.len() < N {
        tries += 1;
        if tries > TRIES_MAX {
            return Err(io::Error::other("no free port on 127.0.0.1"));
        }
        let port = FIRST + u16::from_be_bytes(random()?) % (LAST - FIRST + 1);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push(listener);
        }
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// A name or password nobody can guess: 32 hexadecimal digits.
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
    fn names_differ() -> io::Result<()> {
        let name = random_name()?;
        assert_eq!(name.len(), 32);
        assert_ne!(name, random_name()?);
        Ok(())
    }
}
