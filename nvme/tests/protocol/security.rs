// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::security`: the fields of both commands, at the places of the specification.

use nvme_proto::spec::{
    command::DataPtr,
    security::Message, //
};

#[test]
fn commands() {
    let message = Message {
        protocol: 0xef,
        specific: 0x1234,
        bytes: 0x0102_0304,
    };
    let data = DataPtr::Prp {
        prp1: 0x1122_3344_5566_7000,
        prp2: 0,
    };
    for (send, opcode) in [(true, 0x81), (false, 0x82)] {
        let command = message.command(send, data);
        let expected = [
            opcode,
            0,
            0,
            0,
            0,
            0,
            0x5566_7000,
            0x1122_3344,
            0,
            0,
            0xef12_3400,
            0x0102_0304,
            0,
            0,
            0,
            0,
        ];
        let dwords: [u32; 16] = core::array::from_fn(|number| command.dword(number));
        assert_eq!(dwords, expected);
    }
}
