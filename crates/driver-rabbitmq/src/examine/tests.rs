//! Tests which error is reported as the reason why a queue could not be checked, when several
//! errors occur.
#![allow(clippy::unwrap_used)]

use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError};
use lapin::{ChannelState, ErrorKind};

use super::*;

#[test]
fn of_several_errors_the_one_of_the_broker_is_kept() {
    let gone = || ErrorKind::InvalidChannelState(ChannelState::Error, "queue.declare").into();
    let said = |kind: AMQPErrorKind| {
        ErrorKind::ProtocolError(AMQPError::new(kind, "the broker's text".into())).into()
    };
    let limit = || said(AMQPHardError::NOTALLOWED.into());
    let right = || said(AMQPSoftError::ACCESSREFUSED.into());
    let kept = |results: Vec<Result<(), lapin::Error>>| the_cause(results).unwrap_err();
    assert_eq!(kept(vec![Err(gone()), Ok(()), Err(limit())]), limit());
    assert_eq!(kept(vec![Err(limit()), Err(gone())]), limit());
    assert_eq!(kept(vec![Err(right()), Err(limit())]), right());
    assert_eq!(kept(vec![Ok(()), Err(gone())]), gone());
    the_cause(vec![Ok(()), Ok(())]).unwrap();
}
