// SPDX-License-Identifier: GPL-2.0

//! The window that lists the keys. A test compares the list with the manual page.

/// The text of the window.
pub const HELP: &str = "\
Up Down PgUp PgDn  select a queue
Enter, Esc         zoom into it, and back
Left Right < >     sort by another column
r                  reverse the order
/                  filter: name, kind, CPUs
i                  hide queues without I/O
a                  show the admin queues
f, space           freeze
+ -                look more, less often
h, ?               this help
q, Ctrl-C          quit

Times and rates are those of the last
interval. DEPTH is the mean number of
commands in flight. ! errors, too hot
R reset, T time-out in the heat map";
