// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::reservation`: the bytes of each command and its data, at the offsets of the
//! specification; valid and invalid reports.

use super::cases;
use nvme_proto::spec::{
    command::Command,
    id::Nsid,
    reservation::{
        acquire,
        clear,
        register,
        release,
        report,
        Outcome,
        Racqa,
        Registrant,
        Report, //
    },
    status::Status, //
};
use proptest::prelude::*;

const CURRENT: u64 = 0x1122_3344_5566_7788;
const OTHER: u64 = 0x99aa_bbcc_ddee_ff00;

fn n() -> Nsid {
    Nsid::new(0x0102_0304).unwrap()
}

/// The type Exclusive Access.
const EXCLUSIVE: u8 = 2;

/// The opcode and dwords 10 and 11; all other fields are empty.
fn fields(command: &Command) -> (u8, u32, u32) {
    let nsid = n().get();
    assert_eq!(command.dword(0), command.opcode().into());
    assert_eq!(command.dword(1), nsid);
    for number in (2..10).chain(12..16) {
        assert_eq!(command.dword(number), 0, "dword {number}");
    }
    (command.opcode(), command.dword(10), command.dword(11))
}

#[test]
fn changes() {
    let two = [CURRENT.to_le_bytes(), OTHER.to_le_bytes()].concat();
    let one = CURRENT.to_le_bytes();

    for (current, new, any_key, cdw10) in [
        (0, OTHER, false, 0xc000_0000),
        (0, OTHER, true, 0xc000_000a),
        (CURRENT, 0, false, 0xc000_0001),
        (CURRENT, 0, true, 0xc000_0009),
        (CURRENT, OTHER, false, 0xc000_0002),
        (CURRENT, OTHER, true, 0xc000_000a),
    ] {
        let (command, keys) = register(n(), current, new, any_key);
        assert_eq!(fields(&command), (0x0d, cdw10, 0));
        assert_eq!(keys.bytes()[..8], current.to_le_bytes());
        assert_eq!(keys.bytes()[8..], new.to_le_bytes());
        assert!(command.sends_data());
    }

    for (how, any_key, cdw10) in [
        (Racqa::Acquire, false, 0x200),
        (Racqa::Acquire, true, 0x208),
        (Racqa::Preempt, false, 0x201),
        (Racqa::PreemptAndAbort, false, 0x202),
    ] {
        let (command, keys) = acquire(n(), how, CURRENT, OTHER, EXCLUSIVE, any_key);
        assert_eq!(fields(&command), (0x11, cdw10, 0));
        assert_eq!(keys.bytes(), two);
        assert!(command.sends_data());
    }

    let (command, keys) = release(n(), CURRENT, EXCLUSIVE);
    assert_eq!(fields(&command), (0x15, 0x200, 0));
    assert_eq!(keys.bytes(), one);
    let (command, keys) = release(n(), 0, EXCLUSIVE);
    assert_eq!(fields(&command), (0x15, 0x208, 0));
    assert_eq!(keys.bytes(), [0; 8]);

    let (command, keys) = clear(n(), CURRENT);
    assert_eq!(fields(&command), (0x15, 0x001, 0));
    assert_eq!(keys.bytes(), one);
    assert_eq!(fields(&clear(n(), 0).0), (0x15, 0x009, 0));
}

#[test]
fn reports() {
    assert_eq!(fields(&report(n(), 24, false)), (0x0e, 5, 0));
    assert_eq!(fields(&report(n(), 128, true)), (0x0e, 31, 1));
    assert!(!report(n(), 24, false).sends_data());
    assert_eq!(Report::bytes(0, false), 24);
    assert_eq!(Report::bytes(2, false), 72);
    assert_eq!(Report::bytes(2, true), 192);
    assert_eq!(Report::bytes(u16::MAX, true), 64 * 65536);
}

/// A report on three hosts, of which the second holds the reservation.
fn written(extended: bool) -> Vec<u8> {
    let (header, each, key) = if extended { (64, 64, 8) } else { (24, 24, 16) };
    let mut data = vec![0; header + 3 * each];
    data[..7].copy_from_slice(&[0x04, 0x03, 0x02, 0x01, 5, 3, 0]);
    for host in 0..3 {
        let at = header + host * each;
        // Identifiers of the controller and of the host.
        data[at..at + each].fill(0xee);
        data[at + 2] = if host == 1 { 0xff } else { 0xfe };
        data[at + key..at + key + 8].copy_from_slice(&(CURRENT + host as u64).to_le_bytes());
    }
    data
}

#[test]
fn read_reports() {
    for extended in [false, true] {
        let data = written(extended);
        assert_eq!(data.len(), Report::bytes(3, extended));
        let report = Report::new(&data, extended);
        assert_eq!(report.generation(), 0x0102_0304);
        assert_eq!(report.rtype(), 5);
        assert_eq!(report.count(), 3);
        let hosts: Vec<_> = report.registrants().collect();
        let expected = [0, 1, 2].map(|host| Registrant {
            key: CURRENT + host,
            holds: host == 1,
        });
        assert_eq!(hosts, expected);

        // With room for two.
        let report = Report::new(&data[..data.len() - 1], extended);
        assert_eq!(report.count(), 3);
        assert_eq!(report.registrants().count(), 2);
    }
    let none = Report::new(&[0; 64], true);
    assert_eq!((none.count(), none.rtype()), (0, 0));
    assert_eq!(none.registrants().count(), 0);
}

#[test]
fn outcomes() {
    for (status, outcome) in [
        (0x0000, Outcome::Done),
        (0x0001, Outcome::Refused),
        (0x4001, Outcome::Refused),
        (0x0002, Outcome::Refused),
        (0x000b, Outcome::Refused),
        (0x0180, Outcome::Refused),
        (0x0018, Outcome::OtherHostId),
        (0x4018, Outcome::OtherHostId),
        (0x0083, Outcome::Conflict),
        (0x4083, Outcome::Conflict),
        (0x0283, Outcome::Failed),
        (0x0006, Outcome::Failed),
        (0x0370, Outcome::PathFailed),
    ] {
        assert_eq!(Outcome::of(Status(status)), outcome, "{status:#x}");
    }
}

proptest! {
    #![proptest_config(cases(512))]

    /// Whatever a controller writes, a report has at most as many registrants as its header says and
    /// as its data have room for.
    #[test]
    fn any_report(data in prop::collection::vec(any::<u8>(), 0..1024), extended: bool) {
        let report = Report::new(&data, extended);
        let hosts = report.registrants().count();
        prop_assert!(hosts <= usize::from(report.count()));
        prop_assert!(hosts == 0 || Report::bytes(hosts as u16, extended) <= data.len());
        let _ = (report.generation(), report.rtype());
    }
}
