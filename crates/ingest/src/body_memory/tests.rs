//! Tests the limits of the memory for bodies, exact to the byte.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use super::*;

const MIB: usize = 1024 * 1024;
const SMALL: usize = 16 * 1024;

fn memory() -> Arc<BodyMemory> {
    BodyMemory::new(&Limits::standard())
}

fn sender(number: u8) -> AddressBlock {
    IpAddr::from([192, 0, 2, number]).into()
}

fn hold(memory: &Arc<BodyMemory>, from: AddressBlock, bytes: usize) -> Result<BodyRoom, NoRoom> {
    let mut room = memory.room(from);
    room.grow(bytes)?;
    Ok(room)
}

#[test]
fn one_address_has_a_sixteenth_until_it_is_verified() {
    let memory = memory();
    let mut rooms: Vec<BodyRoom> = (0..4)
        .map(|_| hold(&memory, sender(1), MIB).unwrap())
        .collect();
    assert_eq!(hold(&memory, sender(1), 1).err(), Some(NoRoom::AddressFull));
    assert_eq!(
        memory.room(sender(1)).check(1),
        Err(NoRoom::AddressFull),
        "a body must be refused when its announced length exceeds the share of its address"
    );
    let other = hold(&memory, sender(2), MIB).unwrap();
    rooms[0].verified();
    rooms.push(hold(&memory, sender(1), MIB).unwrap());
    assert_eq!(hold(&memory, sender(1), 1).err(), Some(NoRoom::AddressFull));
    drop((rooms, other));
    let used = memory.lock();
    assert_eq!((used.all, used.large, used.unverified.len()), (0, 0, 0));
}

#[test]
fn a_quarter_is_kept_for_small_bodies() {
    let memory = memory();
    let mut rooms: Vec<BodyRoom> = (0..48)
        .map(|number| hold(&memory, sender(number), MIB).unwrap())
        .collect();
    let large = hold(&memory, sender(100), SMALL + 1);
    assert_eq!(large.err(), Some(NoRoom::Full));
    // When a body grows past the small size, all of its bytes count as large from that byte on.
    let mut growing = hold(&memory, sender(100), SMALL).unwrap();
    assert_eq!(growing.grow(1), Err(NoRoom::Full));
    rooms.pop();
    growing.grow(1).unwrap();
    assert_eq!(memory.lock().large, 47 * MIB + SMALL + 1);
    drop(growing);
    // Small bodies may use all memory that is left: the 16 MiB reserved for them, and the 1 MiB of
    // the large body that was dropped above.
    let small: Vec<BodyRoom> = (0..17 * MIB / SMALL)
        .map(|number| hold(&memory, sender(100 + number as u8 % 16), SMALL).unwrap())
        .collect();
    assert_eq!(hold(&memory, sender(200), 1).err(), Some(NoRoom::Full));
    drop((rooms, small));
    let used = memory.lock();
    assert_eq!((used.all, used.large, used.unverified.len()), (0, 0, 0));
}

#[test]
fn one_body_of_the_largest_size_always_fits() {
    let memory = BodyMemory::new(&Limits {
        body_max: 2 * MIB,
        body_bytes_in_flight_max: 2 * MIB,
        ..Limits::standard()
    });
    let whole = hold(&memory, sender(1), 2 * MIB).unwrap();
    assert_eq!(hold(&memory, sender(2), 1).err(), Some(NoRoom::Full));
    drop(whole);
    assert!(memory.room(sender(1)).check(usize::MAX).is_err());
}
