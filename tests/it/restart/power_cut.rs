//! The power goes: the file system below state and sink is shut down without a flush, as often as
//! it takes, at random moments. What the program called durable is there at the next mount, and in
//! the end each record stands in the finished segments once.
//!
//! A cut at a random moment loses what was written and not synced, which no kill does.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::site::{Fixture, PREFIX, Site, run};
use crate::needs::{self, Need};

/// Cuts for each kind of file system.
const CUTS: u32 = 15;
const SEED: u64 = 0x5eed_0007;
/// The power goes this long after a start at most, and after the first start of a state.
const LATEST: Duration = Duration::from_millis(600);
const EARLY: Duration = Duration::from_millis(60);
const TICK: Duration = Duration::from_millis(20);
const PATIENCE: u32 = 250;

/// A file system in a file, mounted; it may be shut down.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

fn output(program: &str, args: &[&str]) -> Result<(), String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

impl Disk {
    /// `Err` says what this machine lacks.
    fn new(site: &Site, kind: &str, size: u64) -> Result<Self, String> {
        let disk = Disk { image: site.path("image"), at: site.path("disk") };
        File::create(&disk.image).unwrap().set_len(size).unwrap();
        fs::create_dir(&disk.at).unwrap();
        output(&format!("mkfs.{kind}"), &["-q", disk.image.to_str().unwrap()])?;
        output("xfs_io", &["-V"])?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        output("mount", &["-o", "loop", self.image.to_str().unwrap(), self.at.to_str().unwrap()])
    }

    /// Nothing that is not on the disk by now will be.
    fn cut(&self) -> Result<(), String> {
        output("xfs_io", &["-x", "-c", "shutdown", self.at.to_str().unwrap()])
    }

    fn unmount(&self) -> Result<(), String> {
        let unmount = || output("umount", &[self.at.to_str().unwrap()]);
        for _ in 0..PATIENCE {
            if unmount().is_ok() {
                return Ok(());
            }
            wait(TICK);
        }
        unmount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // it may be unmounted already
        let _ = output("umount", &["-l", self.at.to_str().unwrap_or_default()]);
    }
}

fn wait(time: Duration) {
    #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
    std::thread::sleep(time);
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended already
        let _ = self.0.wait();
    }
}

#[test]
fn what_was_called_durable_outlives_the_power() {
    for (kind, size) in [("ext4", 64 << 20), ("xfs", 320 << 20)] {
        let site = Site::new();
        let disk = match Disk::new(&site, kind, size) {
            Ok(disk) => disk,
            Err(why) => return Need::PowerCut.is_missing(why),
        };
        for folder in ["state", "out"] {
            fs::create_dir(disk.at.join(folder)).unwrap();
            symlink(disk.at.join(folder), site.path(folder)).unwrap();
        }
        // what lies there before is there
        disk.unmount().unwrap();
        disk.mount().unwrap();
        cut_often(&site, &disk, kind);
        disk.unmount().unwrap();
    }
}

fn cut_often(site: &Site, disk: &Disk, kind: &str) {
    let mut random = fastrand::Rng::with_seed(SEED);
    let (mut cuts, mut amid, mut round) = (0, 0, 0);
    let wanted = needs::variable("S3SWEEP_POWER_CUTS").unwrap_or(CUTS);
    while cuts < wanted {
        round += 1;
        // each round has a state of its own, and objects of its own accounts
        for folder in ["state", "out"] {
            fs::remove_dir_all(disk.at.join(folder)).unwrap();
            fs::create_dir(disk.at.join(folder)).unwrap();
        }
        output("sync", &["-f", disk.at.to_str().unwrap()]).unwrap();
        let fixture = Fixture::default().with(1, 3, 6, 400).with(2, 3, 80, 2);
        fixture.write(&site.path("bucket"));
        let compression = ["none", "gzip", "zstd"][round % 3];
        let sink = format!("rotate_size = \"96KiB\"\ncompression = \"{compression}\"");
        site.configure(&sink, &site.folder_source(PREFIX));
        for number in 0..5 {
            let case = format!("{kind}, {compression}, round {round}, cut {number}");
            let latest = if number == 0 { EARLY } else { LATEST };
            let after = latest.mul_f64(random.f64());
            let before = site.sink_bytes();
            let err = File::create(site.path("stderr")).unwrap();
            let mut running = Running(site.once().stdout(Stdio::null()).stderr(err).spawn().unwrap());
            wait(after);
            let ended = running.0.try_wait().unwrap();
            if let Some(status) = ended {
                let err = fs::read_to_string(site.path("stderr")).unwrap();
                assert_eq!(status.code(), Some(0), "{case}: {err}");
            }
            amid += u32::from(ended.is_none() && site.sink_bytes() > before);
            disk.cut().unwrap();
            drop(running);
            disk.unmount().unwrap();
            disk.mount().unwrap();
            cuts += 1;
        }
        let case = format!("{kind}, {compression}, round {round}");
        let ran = run(&mut site.once());
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
        site.assert_exact(&fixture, &case);
        site.assert_closed(&fixture, &case);
        site.assert_next_idle(&case);
    }
    println!("{kind}: {cuts} power cuts in {round} rounds, {amid} of them amid records: every record once");
    assert!(amid > 0, "no power cut came amid records");
}
