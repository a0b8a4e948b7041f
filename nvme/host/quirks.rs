// SPDX-License-Identifier: GPL-2.0

//! Quirks: what specific controllers do wrong, or need. `ctrl` looks them up by PCI ids, and again
//! when it knows vendor and model; the module's parameters change the result.
//!
//! Bits, names and the controllers of the table are those of Linux 7.3's own driver, so that a report
//! about one driver is understood by the developers of the other. Of its quirks the table lacks those
//! that can't matter here: `deallocate_zeroes` (zeroes are only written by Write Zeroes),
//! `dmapool_align_512` (lists of addresses are aligned to 512 bytes or more), `admin_page_align` (data
//! of admin commands begin at a page).

use super::super::spec::identify::Controller;
use core::ffi::CStr;

/// A set of quirks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks(pub u32);

impl Quirks {
    /// A read or write that crosses a multiple of the maximum transfer size is slow: requests are
    /// split there.
    pub const STRIPE_SIZE: Self = Self(1 << 0);
    /// Identify knows only CNS 0 and 1, although the controller claims version 1.1: namespaces are
    /// looked for one by one.
    pub const IDENTIFY_CNS: Self = Self(1 << 1);
    /// The controller needs time before its status is read after a disable.
    pub const DELAY_BEFORE_CHK_RDY: Self = Self(1 << 3);
    /// The controller fails in autonomous power state transitions.
    pub const NO_APST: Self = Self(1 << 4);
    /// The controller fails in its deepest power state.
    pub const NO_DEEPEST_PS: Self = Self(1 << 5);
    /// A queue takes one command at a time.
    pub const QDEPTH_ONE: Self = Self(1 << 6);
    /// Submission queues must be created with medium priority.
    pub const MEDIUM_PRIO_SQ: Self = Self(1 << 7);
    /// Several devices have the same subsystem name (SUBNQN): it is ignored.
    pub const IGNORE_DEV_SUBNQN: Self = Self(1 << 8);
    /// Write Zeroes is broken, or much slower than writing: it isn't used.
    pub const DISABLE_WRITE_ZEROES: Self = Self(1 << 9);
    /// The controller must be shut down before any sleep.
    pub const SIMPLE_SUSPEND: Self = Self(1 << 10);
    /// All queues share one interrupt vector.
    pub const SINGLE_VECTOR: Self = Self(1 << 11);
    /// Submission queue entries have 128 bytes: refused.
    pub const SQES_128_BYTES: Self = Self(1 << 12);
    /// Queues must not use a command identifier at the same time: refused.
    pub const SHARED_TAGS: Self = Self(1 << 13);
    /// Writing a temperature threshold does harm: the thresholds are read-only.
    pub const NO_TEMP_THRESH_CHANGE: Self = Self(1 << 14);
    /// The controller fails at the Namespace Identification Descriptor list: it isn't read.
    pub const NO_NS_DESC_LIST: Self = Self(1 << 15);
    /// Addresses of the controller's DMA have 48 bits.
    pub const DMA_ADDRESS_BITS_48: Self = Self(1 << 16);
    /// Command identifiers must be small: refused.
    pub const SKIP_CID_GEN: Self = Self(1 << 17);
    /// EUI64, NGUID and UUID don't identify a namespace: the controller changes them, or reports
    /// the same identifiers for several namespaces.
    pub const BOGUS_NID: Self = Self(1 << 18);
    /// Only the composite temperature has thresholds.
    pub const NO_SECONDARY_TEMP_THRESH: Self = Self(1 << 19);
    /// The firmware's demand to shut the controller down before any sleep is ignored.
    pub const FORCE_NO_SIMPLE_SUSPEND: Self = Self(1 << 20);
    /// MSI doesn't work, but MSI-X does.
    pub const BROKEN_MSI: Self = Self(1 << 21);
    /// The controller works if the driver writes the completion head doorbell late. Only this
    /// driver has this bit.
    pub const LAZY_DOORBELLS: Self = Self(1 << 31);

    /// The quirks that this driver can't work around.
    pub const UNSUPPORTED: Self = Self::SQES_128_BYTES
        .with(Self::SHARED_TAGS)
        .with(Self::SKIP_CID_GEN);

    /// The time that a controller of [`DELAY_BEFORE_CHK_RDY`](Self::DELAY_BEFORE_CHK_RDY) needs, in
    /// milliseconds.
    pub const DELAY_MS: u32 = 2300;

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this set and `other` have a quirk in common.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The quirks of the controller with these PCI ids; none if the table doesn't list them.
    pub fn of_device(vendor: u16, device: u16) -> Self {
        TABLE
            .iter()
            .filter(|(_, devices)| devices.contains(&(vendor, device)))
            .fold(Self::default(), |all, (quirks, _)| all.with(*quirks))
    }

    /// The quirks that the controller with these PCI ids has in this computer. `is` tells whether the
    /// computer has a name; `demands_d3` if its firmware has disks switched off while it sleeps.
    pub fn of_computer(
        vendor: u16,
        device: u16,
        is: impl Fn(ComputerName, &'static CStr) -> bool,
        demands_d3: bool,
    ) -> Self {
        let found = COMPUTERS
            .iter()
            .filter(|(devices, ..)| devices.is_empty() || devices.contains(&(vendor, device)))
            .filter(|(_, maker, names, _)| {
                maker.is_none_or(|(field, name)| is(field, name))
                    && names.iter().any(|(field, name)| is(*field, name))
            })
            .fold(Self::default(), |all, (.., quirks)| all.with(*quirks));
        match demands_d3 && !found.has(Self::FORCE_NO_SIMPLE_SUSPEND) {
            true => found.with(Self::SIMPLE_SUSPEND),
            false => found,
        }
    }

    /// The quirks of a controller that is recognised only by its identify data.
    pub fn of_model(info: &Controller) -> Self {
        let has = |text: &str, known: Option<&str>| known.is_none_or(|known| known == text);
        MODELS
            .iter()
            .filter(|(vid, model, firmware, _)| {
                *vid == info.vid
                    && has(info.model.as_str(), *model)
                    && has(info.firmware.as_str(), *firmware)
            })
            .fold(Self::default(), |all, (.., quirks)| all.with(*quirks))
    }

    /// The address bits of the controller's DMA.
    pub const fn dma_bits(self) -> u32 {
        if self.has(Self::DMA_ADDRESS_BITS_48) {
            48
        } else {
            64
        }
    }

    /// The names of the quirks in this set, but for [`LAZY_DOORBELLS`](Self::LAZY_DOORBELLS).
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .filter(move |(quirk, _)| self.has(*quirk))
            .map(|(_, name)| *name)
    }
}

/// A name that a computer's firmware gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputerName {
    /// Who made the computer.
    Vendor,
    /// The computer's name.
    Product,
    /// Who made its mainboard.
    BoardVendor,
    /// The mainboard's name.
    Board,
}

/// What the module's parameters change in the quirks of controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// PCI vendor id in the upper half, and device id in the lower, of the controllers that this is
    /// for; 0 for all.
    pub device: u32,
    /// The quirks that these controllers have.
    pub on: Quirks,
    /// The quirks that they don't have. A quirk in both sets is off.
    pub off: Quirks,
}

impl Overrides {
    /// Whether this changes anything for a controller with these PCI ids.
    pub fn concern(self, vendor: u16, device: u16) -> bool {
        let ids = u32::from(vendor) << 16 | u32::from(device);
        (self.device == 0 || self.device == ids) && (self.on.0 | self.off.0) != 0
    }

    /// The quirks in force of the controller with these PCI ids: those in the table and those that were
    /// `learned` from its identify data, with the changes.
    pub fn in_force(self, vendor: u16, device: u16, learned: Quirks) -> Quirks {
        let found = Quirks::of_device(vendor, device).with(learned);
        self.apply(vendor, device, found)
    }

    /// The quirks in force of the controller with these PCI ids; `found` are those in the tables.
    pub fn apply(self, vendor: u16, device: u16, found: Quirks) -> Quirks {
        match self.concern(vendor, device) {
            true => Quirks((found.0 | self.on.0) & !self.off.0),
            false => found,
        }
    }
}

/// Whether a controller of this version of the specification knows a CNS of Identify: the field had
/// one bit in 1.0, and two in 1.1 (Base 5.17).
pub fn knows_cns(version: (u16, u8), quirks: Quirks, cns: u8) -> bool {
    match version {
        version if version >= (1, 2) => true,
        (1, 1) if !quirks.has(Quirks::IDENTIFY_CNS) => cns <= 3,
        _ => cns <= 1,
    }
}

const NAMES: &[(Quirks, &str)] = &[
    (Quirks::STRIPE_SIZE, "stripe_size"),
    (Quirks::IDENTIFY_CNS, "identify_cns"),
    (Quirks::DELAY_BEFORE_CHK_RDY, "delay_before_chk_rdy"),
    (Quirks::NO_APST, "no_apst"),
    (Quirks::NO_DEEPEST_PS, "no_deepest_ps"),
    (Quirks::QDEPTH_ONE, "qdepth_one"),
    (Quirks::MEDIUM_PRIO_SQ, "medium_prio_sq"),
    (Quirks::IGNORE_DEV_SUBNQN, "ignore_dev_subnqn"),
    (Quirks::DISABLE_WRITE_ZEROES, "disable_write_zeroes"),
    (Quirks::SIMPLE_SUSPEND, "simple_suspend"),
    (Quirks::SINGLE_VECTOR, "single_vector"),
    (Quirks::SQES_128_BYTES, "128_bytes_sqes"),
    (Quirks::SHARED_TAGS, "shared_tags"),
    (Quirks::NO_TEMP_THRESH_CHANGE, "no_temp_thresh_change"),
    (Quirks::NO_NS_DESC_LIST, "no_ns_desc_list"),
    (Quirks::DMA_ADDRESS_BITS_48, "dma_address_bits_48"),
    (Quirks::SKIP_CID_GEN, "skip_cid_gen"),
    (Quirks::BOGUS_NID, "bogus_nid"),
    (Quirks::NO_SECONDARY_TEMP_THRESH, "no_secondary_temp_thresh"),
    (Quirks::FORCE_NO_SIMPLE_SUSPEND, "force_no_simple_suspend"),
    (Quirks::BROKEN_MSI, "broken_msi"),
];

/// The quirks with the PCI ids, vendor and device, of the controllers that have them.
const TABLE: &[(Quirks, &[(u16, u16)])] = &[
    (
        Quirks::STRIPE_SIZE,
        &[
            (0x8086, 0x0953), // Intel 750/P3500/P3600/P3700
            (0x8086, 0x0a53), // Intel P3520
            (0x8086, 0x0a54), // Intel P4500/P4600
            (0x8086, 0x0a55), // Dell Express Flash P4600
        ],
    ),
    (
        Quirks::IDENTIFY_CNS,
        &[
            (0x106b, 0x2005), // Apple, T2
            (0x8086, 0x5845), // QEMU, use-intel-id
        ],
    ),
    (
        Quirks::DELAY_BEFORE_CHK_RDY,
        &[
            (0x144d, 0xa821), // Samsung PM1725
            (0x144d, 0xa822), // Samsung PM1725a
            (0x1bb1, 0x0100), // Seagate Nytro
            (0x1c58, 0x0003), // HGST
            (0x1c58, 0x0023), // WDC SN200
            (0x1c5f, 0x0540), // Memblaze PBlaze4
        ],
    ),
    (
        Quirks::NO_DEEPEST_PS,
        &[
            (0x025e, 0xf1ac), // Solidigm P44 Pro
            (0x126f, 0x1001), // Silicon Motion
            (0x126f, 0x2262), // Silicon Motion SM2262
            (0x15b7, 0x5009), // SanDisk SN550
            (0x1cc1, 0x8201), // ADATA SX8200PNP
            (0x1e49, 0x0021), // ZHITAI TiPro5000
            (0x1e49, 0x0041), // ZHITAI TiPro7000
            (0x2646, 0x2262), // Kingston SKC2000
            (0x2646, 0x2263), // Kingston A2000
            (0x8086, 0xf1a5), // Intel 600P/P3100
        ],
    ),
    (
        Quirks::QDEPTH_ONE,
        &[
            (0x106b, 0x2001), // Apple, MacBook8,1
        ],
    ),
    (
        Quirks::MEDIUM_PRIO_SQ,
        &[
            (0x8086, 0xf1a5), // Intel 600P/P3100
        ],
    ),
    (
        Quirks::IGNORE_DEV_SUBNQN,
        &[
            (0x10ec, 0x5762), // ADATA SX6000LNP
            (0x126f, 0x1001), // Silicon Motion
            (0x1344, 0x5407), // Micron
            (0x144d, 0xa822), // Samsung PM1725a
            (0x1987, 0x5016), // Phison E16
            (0x1b4b, 0x1092), // Lexar
            (0x1cc1, 0x8201), // ADATA SX8200PNP
            (0x1d97, 0x2269), // Lexar NM760
            (0x8086, 0x0a54), // Intel P4500/P4600
            (0x8086, 0xf1a6), // Intel 760p/Pro 7600p
        ],
    ),
    (
        Quirks::DISABLE_WRITE_ZEROES,
        &[
            (0x144d, 0xa809), // Samsung MZALQ256HBJD
            (0x144d, 0xa80b), // Samsung PM9B1
            (0x144d, 0xa822), // Samsung PM1725a
            (0x15b7, 0x2001), // SanDisk Skyhawk
            (0x1987, 0x5019), // Phison E19
            (0x1987, 0x5021), // Phison E21
            (0x1c5c, 0x1504), // SK Hynix PC400
            (0x1c5c, 0x1d59), // SK Hynix BC901
            (0x1cc4, 0x6302), // UMIS RPJTJ256MGE1QDY
            (0x1cc4, 0x6303), // UMIS RPJTJ512MGE1QDY
            (0x1d97, 0x2263), // SPCC, Lexar NM610
            (0x2646, 0x5016), // Kingston OM3PGP4xxxxP
            (0x2646, 0x5018), // Kingston OM8SFP4xxxxP
            (0x2646, 0x501a), // Kingston OM8PGP4xxxxP
            (0x2646, 0x501b), // Kingston OM8PGP4xxxxQ
            (0x2646, 0x501e), // Kingston OM3PGP4xxxxQ
            (0x2646, 0x502f), // Kingston OM3SGP4xxxxK
            (0x8086, 0x5845), // QEMU, use-intel-id
            (0x8086, 0xf1a5), // Intel 600P/P3100
        ],
    ),
    (
        Quirks::SINGLE_VECTOR,
        &[
            (0x106b, 0x2001), // Apple, MacBook8,1
            (0x106b, 0x2005), // Apple, T2
        ],
    ),
    (
        Quirks::SQES_128_BYTES,
        &[
            (0x106b, 0x2005), // Apple, T2
        ],
    ),
    (
        Quirks::NO_TEMP_THRESH_CHANGE,
        &[
            (0x8086, 0xf1a5), // Intel 600P/P3100
        ],
    ),
    (
        Quirks::NO_NS_DESC_LIST,
        &[
            (0x126f, 0x2263), // Silicon Motion SM2263
            (0x1b4b, 0x1092), // Lexar
            (0x1bb1, 0x0100), // Seagate Nytro
            (0x1c5f, 0x0555), // Memblaze PBlaze5
        ],
    ),
    (
        Quirks::DMA_ADDRESS_BITS_48,
        &[
            (0x1d0f, 0x0061), // Amazon
            (0x1d0f, 0x0065), // Amazon
            (0x1d0f, 0x8061), // Amazon
            (0x1d0f, 0xcd00), // Amazon
            (0x1d0f, 0xcd01), // Amazon
            (0x1d0f, 0xcd02), // Amazon
        ],
    ),
    (
        Quirks::BOGUS_NID,
        &[
            (0x10ec, 0x5762), // ADATA SX6000LNP
            (0x10ec, 0x5763), // ADATA SX6000PNP, TEAMGROUP Z330
            (0x10ec, 0x5765), // TEAMGROUP MP33
            (0x126f, 0x2262), // Silicon Motion SM2262
            (0x126f, 0x2263), // Silicon Motion SM2263
            (0x1344, 0x6001), // Micron Nitro
            (0x144d, 0xa802), // Samsung SM953
            (0x144d, 0xa80b), // Samsung PM9B1
            (0x1987, 0x5012), // Phison E12
            (0x1987, 0x5016), // Phison E16
            (0x1b36, 0x0010), // QEMU
            (0x1c5c, 0x174a), // SK Hynix P31 SSD
            (0x1cc1, 0x33f8), // ADATA IM2P33F8ABR1
            (0x1cc1, 0x5350), // ADATA XPG GAMMIX S50
            (0x1d97, 0x1d97), // Lexar NM620
            (0x1d97, 0x2263), // SPCC, Lexar NM610
            (0x1d97, 0x2269), // Lexar NM760
            (0x1dbe, 0x5216), // INNOGRIT 5216
            (0x1dbe, 0x5236), // ADATA XPG GAMMIX S70
            (0x1e4b, 0x1001), // MAXIO MAP1001
            (0x1e4b, 0x1002), // MAXIO MAP1002
            (0x1e4b, 0x1202), // MAXIO MAP1202
            (0x1e4b, 0x1602), // MAXIO MAP1602
            (0x1f40, 0x1202), // Netac NV3000
            (0x1f40, 0x5236), // Netac NV7000
            (0x8086, 0x0a54), // Intel P4500/P4600
            (0x8086, 0x5845), // QEMU, use-intel-id
            (0xc0a9, 0x540a), // Crucial P2
        ],
    ),
    (
        Quirks::NO_SECONDARY_TEMP_THRESH,
        &[
            (0x1fa0, 0x2283), // Wodposit WPBSNM8-256GTP
            (0x2646, 0x5013), // Kingston KC3000
        ],
    ),
    (
        Quirks::BROKEN_MSI,
        &[
            (0x15b7, 0x5008), // SanDisk SN530
            (0x15b7, 0x5009), // SanDisk SN550
        ],
    ),
    (
        Quirks::LAZY_DOORBELLS,
        &[
            (0x1b36, 0x0010), // QEMU
            (0x8086, 0x5845), // QEMU, use-intel-id
        ],
    ),
];

/// Vendor id, and model number and firmware revision, if they matter, in the identify data of
/// controllers that share their PCI ids with others, which don't have these quirks.
const MODELS: &[(u16, Option<&str>, Option<&str>, Quirks)] = &[
    // Dies in any of its low power states.
    (0x1179, Some("THNSF5256GPUK TOSHIBA"), None, Quirks::NO_APST),
    // Its commands time out under load, and after that the host can't switch the transitions off.
    (0x1e0f, Some("KCD6XVUL6T40"), None, Quirks::NO_APST),
    // LiteON's CL1-3D: later firmware comes back from suspend to idle.
    (0x14a4, None, Some("22301111"), Quirks::SIMPLE_SUSPEND),
    // Has the PCI ids of the 970 EVO Plus, which works.
    (
        0x144d,
        Some("Samsung Portable SSD X5"),
        None,
        Quirks::DELAY_BEFORE_CHK_RDY
            .with(Quirks::NO_DEEPEST_PS)
            .with(Quirks::IGNORE_DEV_SUBNQN),
    ),
];

/// Controllers that have quirks only in some computers: their PCI ids, or none for all; who made the
/// computer, if that matters; its names, one of which it has.
#[allow(clippy::type_complexity)] // A row of a table.
const COMPUTERS: &[(
    &[(u16, u16)],
    Option<(ComputerName, &CStr)>,
    &[(ComputerName, &CStr)],
    Quirks,
)] = &[
    // SM951, PM951 and 950 PRO leave the bus of these laptops.
    (
        &[(0x144d, 0xa802)],
        Some((ComputerName::Vendor, c"Dell Inc.")),
        &[
            (ComputerName::Product, c"XPS 15 9550"),
            (ComputerName::Product, c"Precision 5510"),
        ],
        Quirks::NO_DEEPEST_PS,
    ),
    // So does the 960 EVO with these boards: after a sleep, or some minutes after the boot.
    (
        &[(0x144d, 0xa804)],
        Some((ComputerName::BoardVendor, c"ASUSTeK COMPUTER INC.")),
        &[
            (ComputerName::Board, c"PRIME B350M-A"),
            (ComputerName::Board, c"PRIME Z370-A"),
        ],
        Quirks::NO_APST,
    ),
    // Any disk leaves the bus after ten idle hours.
    (
        &[],
        None,
        &[(ComputerName::Board, c"LXKT-ZXEG-N6")],
        Quirks::NO_APST,
    ),
    // The C640, after its behaviour in sleep with these disks.
    (
        &[
            (0x144d, 0xa801),
            (0x144d, 0xa808),
            (0x144d, 0xa809),
            (0x1e0f, 0x0001),
        ],
        Some((ComputerName::BoardVendor, c"LENOVO")),
        &[(ComputerName::Board, c"LNVNB161216")],
        Quirks::SIMPLE_SUSPEND,
    ),
    // The firmware asks for it, but a shut down NV1 or A2000 takes more power.
    (
        &[(0x2646, 0x2263), (0x2646, 0x500f)],
        None,
        &[
            (ComputerName::Board, c"NS5X_NS7XAU"),
            (ComputerName::Board, c"NS5x_7xAU"),
            (ComputerName::Board, c"NS5x_7xPU"),
            (ComputerName::Board, c"PH4PRX1_PH6PRX1"),
        ],
        Quirks::FORCE_NO_SIMPLE_SUSPEND,
    ),
    // And so does a 990 Evo.
    (
        &[(0x144d, 0xa80d)],
        None,
        &[
            (ComputerName::Board, c"DN50Z-140HC-YD"),
            (ComputerName::Board, c"GMxPXxx"),
            (ComputerName::Board, c"GXxMRXx"),
            (ComputerName::Board, c"NS5X_NS7XAU"),
            (ComputerName::Board, c"PH4PG31"),
            (ComputerName::Board, c"PH4PRX1_PH6PRX1"),
            (ComputerName::Board, c"PH6PG01_PH6PG71"),
        ],
        Quirks::FORCE_NO_SIMPLE_SUSPEND,
    ),
];
