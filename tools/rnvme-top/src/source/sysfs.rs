// SPDX-License-Identifier: GPL-2.0

//! The files of the driver in sysfs.
//!
//! Files stay open, so that a snapshot takes one system call per file. The file `latency` of a queue is
//! read only if the queue timed a command since the last snapshot, and temperatures only sometimes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::thermometer::Thermometer;
use super::Source;
use crate::error::{Error, Result};
use crate::model::counts::{number, Counts, Events};
use crate::model::histogram::Histogram;
use crate::model::snapshot::{
    Controller, ControllerInfo, Disk, DiskStat, Health, Queue, QueueInfo, Snapshot,
};

/// The driver's directory, below the root of sysfs.
const DRIVER: &str = "bus/pci/drivers/rust_nvme_demo";

/// The state of a controller that works.
const LIVE: &str = "live";

/// The maximum number of files that stay open; others are opened each time. The usual limit is 1024.
const MAX_OPEN: usize = 800;

/// A file has at most one page, and some machines have pages of 64 KiB.
const PAGE: usize = 65536;

/// Sysfs as a source.
pub struct Sysfs {
    driver: PathBuf,
    start: Instant,
    controllers: Vec<Watched>,
    buffer: Vec<u8>,
    open: usize,
}

/// A file that is read repeatedly.
struct Input {
    path: PathBuf,
    file: Option<File>,
}

/// A controller and its files.
struct Watched {
    info: Arc<ControllerInfo>,
    directory: PathBuf,
    state: Input,
    events: Input,
    /// The number of I/O queues, and its text when the properties of the queues were read.
    io_queues: Input,
    io_queues_text: String,
    /// An older driver lacks the file.
    smart_warnings: Input,
    thermometer: Thermometer,
    queues: Vec<WatchedQueue>,
    disks: Vec<(String, Input)>,
}

struct WatchedQueue {
    info: Arc<QueueInfo>,
    stat: Input,
    latency: Input,
    /// The times at the last snapshot, and their number.
    times: Arc<Histogram>,
    timed: Option<u64>,
}

/// Why the program couldn't read a file.
enum Failure {
    /// The device is gone, or was bound again.
    Gone,
    Other(Error),
}

type Attempt<T> = std::result::Result<T, Failure>;

impl Failure {
    fn of(path: &Path, error: &io::Error) -> Self {
        const ENXIO: i32 = 6;
        const ENODEV: i32 = 19;
        match error.raw_os_error() {
            Some(ENXIO | ENODEV) => Self::Gone,
            _ if error.kind() == io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Other(Error::file(path, error)),
        }
    }
}

impl Sysfs {
    /// The sysfs below `root`.
    ///
    /// # Errors
    ///
    /// If the driver isn't loaded, or the user may not read its directory.
    pub fn new(root: &Path) -> Result<Self> {
        let driver = root.join(DRIVER);
        match fs::read_dir(&driver) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoDevice(format!(
                    "no {}: the module rust_nvme_demo is not loaded",
                    driver.display()
                )));
            }
            Err(error) => return Err(Error::file(&driver, &error)),
        }
        Ok(Self {
            driver,
            start: Instant::now(),
            controllers: Vec::new(),
            buffer: vec![0; PAGE],
            open: 0,
        })
    }

    /// Finds the controllers of the driver.
    fn find(&mut self) -> Result<()> {
        let mut addresses = Vec::new();
        match fs::read_dir(&self.driver) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(|e| Error::file(&self.driver, &e))?;
                    if let Some(name) = entry.file_name().to_str().filter(|n| n.contains(':')) {
                        addresses.push(name.to_string());
                    }
                }
            }
            // The module was unloaded; the user may load it again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file(&self.driver, &error)),
        }
        addresses.sort();

        self.controllers
            .retain(|c| addresses.contains(&c.info.address));
        for address in addresses {
            if self.controllers.iter().any(|c| c.info.address == address) {
                continue;
            }
            match Watched::new(&self.driver.join(&address), address) {
                Ok(controller) => self.controllers.push(controller),
                // The controller is being bound or unbound: the next snapshot finds it.
                Err(Failure::Gone) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        self.controllers
            .sort_by(|a, b| a.info.address.cmp(&b.info.address));
        self.open = self.controllers.iter().map(Watched::open_files).sum();
        Ok(())
    }

    /// Reads the temperatures of live controllers if it is time, all at once.
    fn read_temperatures(&mut self) {
        let now = Instant::now();
        for c in &mut self.controllers {
            if c.thermometer.is_due(now) && c.is_live(&mut self.buffer, &mut self.open) {
                c.thermometer.begin(now);
            }
        }
        for controller in &mut self.controllers {
            controller.thermometer.finish();
        }
    }
}

impl Source for Sysfs {
    fn next(&mut self) -> Result<Option<Snapshot>> {
        // Twice, because a controller may have been bound again.
        for last in [false, true] {
            self.find()?;
            // Before the counts, because the admin queue counts the commands of a reading.
            self.read_temperatures();
            let mut snapshot = Snapshot {
                monotonic_ns: nanoseconds(self.start.elapsed()),
                unix_ns: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, nanoseconds),
                controllers: Vec::new(),
            };
            let mut gone = Vec::new();
            for (i, controller) in self.controllers.iter_mut().enumerate() {
                match controller.look(&mut self.buffer, &mut self.open) {
                    Ok(controller) => snapshot.controllers.push(controller),
                    Err(Failure::Gone) => gone.push(i),
                    Err(Failure::Other(error)) => return Err(error),
                }
            }
            let again = !gone.is_empty();
            for i in gone.into_iter().rev() {
                self.controllers.remove(i);
            }
            if !again || last {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    // Opened for each look, because the view shows one queue at a time. An older driver lacks the file.
    fn ages(&mut self, address: &str, qid: u32) -> Option<Vec<u64>> {
        let file = format!("{address}/queues/{qid}/oldest_us");
        let line = text(&self.driver.join(file)).ok()?;
        line.split_ascii_whitespace()
            .map(|age| number(age)?.checked_mul(1000))
            .collect()
    }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The text of a file, without the newline.
fn text(path: &Path) -> Attempt<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim_end().to_string()),
        Err(error) => Err(Failure::of(path, &error)),
    }
}

/// The text of a file; empty if the driver doesn't know the value yet.
fn text_or_empty(path: &Path) -> Attempt<String> {
    const ENODATA: i32 = 61;
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim_end().to_string()),
        Err(error) if error.raw_os_error() == Some(ENODATA) => Ok(String::new()),
        Err(error) => Err(Failure::of(path, &error)),
    }
}

/// The names in a directory; none if the directory doesn't exist.
fn names(path: &Path) -> Attempt<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::of(path, &error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

impl Input {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The file's present text.
    fn read<'a>(&mut self, buffer: &'a mut [u8], open: &mut usize) -> Attempt<&'a str> {
        let fresh;
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = File::open(&self.path).map_err(|e| Failure::of(&self.path, &e))?;
                if *open < MAX_OPEN {
                    *open += 1;
                    self.file.insert(file)
                } else {
                    fresh = file;
                    &fresh
                }
            }
        };
        let length = file
            .read_at(buffer, 0)
            .map_err(|e| Failure::of(&self.path, &e))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        std::str::from_utf8(bytes)
            .map(str::trim_end)
            .map_err(|_| self.malformed())
    }

    fn malformed(&self) -> Failure {
        Failure::Other(Error::Io(format!(
            "{}: not of the form that this version knows",
            self.path.display()
        )))
    }
}

/// The kernel creates or removes all files of a controller within this time.
const HALF_BOUND: Duration = Duration::from_millis(500);

impl Watched {
    fn new(directory: &Path, address: String) -> Attempt<Self> {
        let controller = directory.join("controller");
        let parameters = controller.join("parameters");
        let parameters: Attempt<Vec<(String, String)>> = names(&parameters)?
            .into_iter()
            .map(|name| Ok((name.clone(), text(&parameters.join(name))?)))
            .collect();
        let info = ControllerInfo {
            address,
            name: text(&controller.join("name"))?,
            model: text_or_empty(&controller.join("model"))?,
            serial: text_or_empty(&controller.join("serial"))?,
            firmware: text_or_empty(&controller.join("firmware"))?,
            parameters: parameters?,
        };
        let events = controller.join("events");
        if let Err(error) = fs::metadata(&events) {
            // While a controller is bound or unbound, its files come and go one by one.
            let lacks_it = || controller.join("name").exists() && !events.exists();
            if error.kind() == io::ErrorKind::NotFound && lacks_it() && {
                thread::sleep(HALF_BOUND);
                lacks_it()
            } {
                return Err(Failure::Other(Error::NoDevice(format!(
                    "no {}: the driver is older than this program",
                    events.display()
                ))));
            }
            return Err(Failure::of(&events, &error));
        }
        let mut queues = Vec::new();
        for name in names(&directory.join("queues"))? {
            if let Ok(qid) = name.parse() {
                queues.push(WatchedQueue::new(
                    &directory.join("queues").join(name),
                    qid,
                )?);
            }
        }
        queues.sort_by_key(|q| q.info.qid);
        Ok(Self {
            info: Arc::new(info),
            state: Input::new(controller.join("state")),
            events: Input::new(events),
            io_queues: Input::new(controller.join("io_queues")),
            // Empty, so that the first snapshot reads the properties again: the number may have changed.
            io_queues_text: String::new(),
            smart_warnings: Input::new(controller.join("smart_warnings")),
            thermometer: Thermometer::new(directory),
            directory: directory.to_path_buf(),
            queues,
            disks: Vec::new(),
        })
    }

    fn is_live(&mut self, buffer: &mut [u8], open: &mut usize) -> bool {
        self.state
            .read(buffer, open)
            .is_ok_and(|state| state == LIVE)
    }

    /// The health, with what is missing left out.
    fn health(&mut self, state: &str, buffer: &mut [u8], open: &mut usize) -> Health {
        let reading = self.thermometer.reading(Instant::now());
        let reading = reading.filter(|_| state == LIVE);
        let warnings = self.smart_warnings.read(buffer, open).ok();
        Health {
            temperature: reading.map(|r| r.temperature),
            limit: reading.and_then(|r| r.limit),
            smart_warnings: warnings.and_then(number),
        }
    }

    fn look(&mut self, buffer: &mut [u8], open: &mut usize) -> Attempt<Controller> {
        let state = self.state.read(buffer, open)?.to_string();
        let line = self.events.read(buffer, open)?;
        let events = Events::parse(line).ok_or_else(|| self.events.malformed())?;
        // After a reset the controller may have more or fewer I/O queues.
        let io_queues = self.io_queues.read(buffer, open)?;
        if io_queues != self.io_queues_text {
            self.io_queues_text = io_queues.to_string();
            for queue in &mut self.queues {
                let qid = queue.info.qid;
                let directory = self.directory.join("queues").join(qid.to_string());
                queue.info = Arc::new(queue_info(&directory, qid)?);
            }
        }
        let mut queues = Vec::with_capacity(self.queues.len());
        for queue in &mut self.queues {
            queues.push(queue.look(buffer, open)?);
        }
        let health = self.health(&state, buffer, open);
        Ok(Controller {
            info: self.info.clone(),
            state,
            events,
            health,
            queues,
            disks: self.look_at_disks(buffer, open)?,
        })
    }

    /// The disks, which may appear and disappear while the controller is bound.
    fn look_at_disks(&mut self, buffer: &mut [u8], open: &mut usize) -> Attempt<Vec<Disk>> {
        let name = &self.info.name;
        let control = self.directory.join("rnvme").join(name);
        let prefix = format!("{name}n");
        let mut found = names(&control)?;
        found.retain(|file| file.starts_with(&prefix));
        self.disks.retain(|(name, _)| found.contains(name));
        for name in found {
            if !self.disks.iter().any(|(known, _)| *known == name) {
                let stat = control.join(&name).join("stat");
                self.disks.push((name, Input::new(stat)));
            }
        }
        let mut disks = Vec::new();
        self.disks.retain_mut(|(name, input)| {
            let stat = input.read(buffer, open).ok().and_then(DiskStat::parse);
            disks.extend(stat.map(|stat| Disk {
                name: name.clone(),
                stat,
            }));
            stat.is_some()
        });
        Ok(disks)
    }

    fn open_files(&self) -> usize {
        let queues = self.queues.iter().flat_map(|q| [&q.stat, &q.latency]);
        let disks = self.disks.iter().map(|(_, input)| input);
        let all = queues.chain(disks).chain([&self.state, &self.events]);
        all.chain([&self.io_queues, &self.smart_warnings])
            .filter(|input| input.file.is_some())
            .count()
    }
}

/// The properties of a queue. If the controller doesn't have the queue, the kind is "lost".
fn queue_info(directory: &Path, qid: u32) -> Attempt<QueueInfo> {
    let depth = directory.join("depth");
    let kind = match text(&directory.join("state")) {
        Ok(state) if state == "lost" => state,
        // An older driver lacks the file, and loses no queues.
        Ok(_) | Err(Failure::Gone) => text(&directory.join("kind"))?,
        Err(error) => return Err(error),
    };
    Ok(QueueInfo {
        qid,
        kind,
        depth: text(&depth)?
            .parse()
            .map_err(|_| Input::new(depth).malformed())?,
        vector: text(&directory.join("vector"))?,
        cpus: text(&directory.join("cpus"))?,
    })
}

impl WatchedQueue {
    fn new(directory: &Path, qid: u32) -> Attempt<Self> {
        Ok(Self {
            info: Arc::new(queue_info(directory, qid)?),
            stat: Input::new(directory.join("stat")),
            latency: Input::new(directory.join("latency")),
            times: Arc::default(),
            timed: None,
        })
    }

    fn look(&mut self, buffer: &mut [u8], open: &mut usize) -> Attempt<Queue> {
        let line = self.stat.read(buffer, open)?;
        let counts = Counts::parse(line).ok_or_else(|| self.stat.malformed())?;
        if counts.timed != 0 && self.timed != Some(counts.timed) {
            let line = self.latency.read(buffer, open)?;
            let times = Histogram::parse(line).ok_or_else(|| self.latency.malformed())?;
            self.times = Arc::new(times);
            self.timed = Some(counts.timed);
        }
        Ok(Queue {
            info: self.info.clone(),
            counts,
            latency: self.times.clone(),
        })
    }
}

/// The error of a snapshot without a controller.
pub fn nothing_found(root: &Path) -> Error {
    Error::NoDevice(format!(
        "{}: the driver has no controller",
        root.join(DRIVER).display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counts::Counts;
    use crate::scratch::Scratch;

    /// A directory like `/sys`.
    struct Tree(Scratch);

    impl Tree {
        fn new(name: &str) -> Self {
            let scratch = Scratch::new(name);
            fs::create_dir_all(scratch.join(DRIVER)).unwrap();
            Self(scratch)
        }

        fn write(&self, file: &str, text: &str) {
            self.0.write(Path::new(DRIVER).join(file), text);
        }

        fn controller(&self, address: &str) {
            for (file, text) in [
                ("controller/name", "nvme900\n"),
                ("controller/model", "A model\n"),
                ("controller/serial", "S1\n"),
                ("controller/firmware", "1.0\n"),
                ("controller/state", "live\n"),
                ("controller/events", "1 2 3 4 5\n"),
                ("controller/io_queues", "3\n"),
                ("controller/parameters/timeout", "30\n"),
                ("rnvme/nvme900/nvme900n1/stat", "1 0 8 0 2 0 16 0 0 0 0\n"),
            ] {
                self.write(&format!("{address}/{file}"), text);
            }
            for qid in [0, 1, 2, 10] {
                self.queue(address, qid, 7);
            }
        }

        fn queue(&self, address: &str, qid: u32, timed: u64) {
            let counts = Counts {
                submitted: 9,
                timed,
                ..Counts::default()
            };
            let words: Vec<String> = counts.values().iter().map(u64::to_string).collect();
            for (file, text) in [
                ("kind", "default\n".to_string()),
                ("depth", "1024\n".to_string()),
                ("vector", format!("{qid}\n")),
                ("cpus", "0-1\n".to_string()),
                ("stat", words.join(" ") + "\n"),
                ("latency", format!("1023:{timed}\n")),
            ] {
                self.write(&format!("{address}/queues/{qid}/{file}"), &text);
            }
        }
    }

    fn look(sysfs: &mut Sysfs) -> Snapshot {
        sysfs.next().unwrap().unwrap()
    }

    #[test]
    fn a_tree() {
        let tree = Tree::new("tree");
        tree.controller("0000:01:00.0");
        tree.write("bind", "");
        let mut sysfs = Sysfs::new(&tree.0).unwrap();
        let snapshot = look(&mut sysfs);
        let [c] = snapshot.controllers.as_slice() else {
            panic!()
        };
        assert_eq!(
            (c.info.name.as_str(), c.state.as_str()),
            ("nvme900", "live")
        );
        assert_eq!(
            c.info.parameters,
            [("timeout".to_string(), "30".to_string())]
        );
        assert_eq!(c.events.resets, 4);
        let qids: Vec<u32> = c.queues.iter().map(|q| q.info.qid).collect();
        assert_eq!(qids, [0, 1, 2, 10]);
        assert_eq!(c.queues[1].counts.submitted, 9);
        assert_eq!(c.queues[1].latency.total(), 7);
        assert_eq!(c.disks[0].stat.write_sectors, 16);
        // Open files show changes.
        tree.queue("0000:01:00.0", 1, 8);
        assert_eq!(look(&mut sysfs).controllers[0].queues[1].latency.total(), 8);
    }

    #[test]
    fn controllers_come_and_go() {
        let tree = Tree::new("come");
        let mut sysfs = Sysfs::new(&tree.0).unwrap();
        assert!(look(&mut sysfs).controllers.is_empty());
        tree.controller("0000:02:00.0");
        assert_eq!(look(&mut sysfs).controllers.len(), 1);
        tree.controller("0000:01:00.0");
        let snapshot = look(&mut sysfs);
        assert_eq!(snapshot.controllers[0].info.address, "0000:01:00.0");
        assert_eq!(snapshot.controllers.len(), 2);
        fs::remove_dir_all(tree.0.join(DRIVER).join("0000:01:00.0")).unwrap();
        assert_eq!(look(&mut sysfs).controllers.len(), 1);
        fs::remove_dir_all(tree.0.join(DRIVER)).unwrap();
        assert!(look(&mut sysfs).controllers.is_empty());
    }

    #[test]
    fn queues_are_lost_and_come_back() {
        let tree = Tree::new("lost");
        tree.controller("0000:01:00.0");
        let mut sysfs = Sysfs::new(&tree.0).unwrap();
        let mut kind = |state: &str, io_queues: &str| {
            tree.write("0000:01:00.0/queues/10/state", state);
            tree.write("0000:01:00.0/controller/io_queues", io_queues);
            look(&mut sysfs).controllers[0].queues[3].info.kind.clone()
        };
        assert_eq!(kind("live\n", "3\n"), "default");
        assert_eq!(kind("lost\n", "2\n"), "lost");
        assert_eq!(kind("live\n", "3\n"), "default");
    }

    #[test]
    fn health() {
        let tree = Tree::new("health");
        tree.controller("0000:01:00.0");
        tree.controller("0000:02:00.0");
        let write = |file: &str, text: &str| tree.write(&format!("0000:01:00.0/{file}"), text);
        write("hwmon/hwmon3/temp1_input", "49850\n");
        write("hwmon/hwmon3/temp1_max", "69850\n");
        write("controller/smart_warnings", "2\n");
        let mut sysfs = Sysfs::new(&tree.0).unwrap();
        let health = |sysfs: &mut Sysfs| look(sysfs).controllers.remove(0).health;
        let known = Health {
            temperature: Some(49_850),
            limit: Some(69_850),
            smart_warnings: Some(2),
        };
        assert_eq!(health(&mut sysfs), known);
        // An older driver, in a kernel without hwmon.
        assert_eq!(look(&mut sysfs).controllers[1].health, Health::default());

        // The next reading isn't due.
        write("hwmon/hwmon3/temp1_input", "71850\n");
        write("controller/smart_warnings", "3\n");
        let later = Health {
            smart_warnings: Some(3),
            ..known
        };
        assert_eq!(health(&mut sysfs), later);
        write("controller/state", "resetting\n");
        assert_eq!(health(&mut sysfs).temperature, None);
        write("controller/state", "live\n");
        assert_eq!(health(&mut sysfs), later);
    }

    /// The program doesn't read the temperature of a controller that isn't live.
    #[test]
    fn no_temperature_of_a_stopped_controller() {
        let tree = Tree::new("stopped");
        tree.controller("0000:01:00.0");
        tree.write("0000:01:00.0/controller/state", "resetting\n");
        tree.write("0000:01:00.0/hwmon/hwmon3/temp1_input", "20000\n");
        let mut sysfs = Sysfs::new(&tree.0).unwrap();
        look(&mut sysfs);
        assert!(sysfs.controllers[0].thermometer.is_due(Instant::now()));
        tree.write("0000:01:00.0/controller/state", "live\n");
        let health = look(&mut sysfs).controllers[0].health;
        assert_eq!(health.temperature, Some(20_000));
        assert!(!sysfs.controllers[0].thermometer.is_due(Instant::now()));
    }

    #[test]
    fn ages() {
        let tree = Tree::new("ages");
        tree.controller("0000:01:00.0");
        let mut sysfs = Sysfs::new(&tree.0).unwrap();
        // An older driver.
        assert_eq!(sysfs.ages("0000:01:00.0", 1), None);
        for (line, ages) in [
            ("2500000 31\n", Some(vec![2_500_000_000, 31_000])),
            ("\n", Some(vec![])),
            ("1 x\n", None),
            ("18446744073709551615\n", None),
        ] {
            tree.write("0000:01:00.0/queues/1/oldest_us", line);
            assert_eq!(sysfs.ages("0000:01:00.0", 1), ages, "{line}");
        }
        assert_eq!(sysfs.ages("0000:02:00.0", 1), None);
    }

    #[test]
    fn half_of_a_controller_is_none() {
        let tree = Tree::new("half");
        tree.controller("0000:01:00.0");
        let name = tree.0.join(DRIVER).join("0000:01:00.0/queues/2/depth");
        fs::remove_file(name).unwrap();
        assert!(look(&mut Sysfs::new(&tree.0).unwrap())
            .controllers
            .is_empty());
    }

    #[test]
    fn what_cannot_be_used() {
        let tree = Tree::new("bad");
        let missing = tree.0.join("nothing");
        assert_eq!(Sysfs::new(&missing).err().unwrap().code(), 3);
        tree.controller("0000:01:00.0");
        tree.write("0000:01:00.0/queues/1/stat", "1 2 x\n");
        let error = Sysfs::new(&tree.0).unwrap().next().unwrap_err();
        assert!(
            error.to_string().contains("queues/1/stat: not of the form"),
            "{error}"
        );
        tree.controller("0000:01:00.0");
        fs::remove_file(tree.0.join(DRIVER).join("0000:01:00.0/controller/events")).unwrap();
        let error = Sysfs::new(&tree.0).unwrap().next().unwrap_err();
        assert!(
            error.to_string().contains("older than this program"),
            "{error}"
        );
    }
}
