//! A block layer in user space between a file and a loop device: `qemu-storage-daemon`, exported through FUSE.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::command::{find, run, text};
use super::qmp::Monitor;

/// How long it may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// The nodes: the image, and what is exported.
const DISK: &str = "disk";
const TOP: &str = "top";

/// The daemon. Dropped, it ends and its export goes.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    monitor: Option<Monitor>,
    export: PathBuf,
    faults: u32,
}

impl Daemon {
    /// Logs every write and flush of the export into `log`.
    ///
    /// # Errors
    /// It does not start.
    pub fn logging(dir: &Path, image: &Path, log: &Path) -> Result<Self> {
        File::create(log)?;
        let log = text(log)?;
        let nodes = [
            format!("driver=file,node-name=log,filename={log},locking=off"),
            format!("driver=blklogwrites,node-name={TOP},file={DISK},log=log,log-sector-size=512"),
        ];
        Self::start(dir, image, &nodes)
    }

    /// Passes everything on, until told to fail.
    ///
    /// # Errors
    /// It does not start.
    pub fn failing(dir: &Path, image: &Path) -> Result<Self> {
        Self::start(dir, image, &[format!("driver=raw,node-name={TOP},file={DISK}")])
    }

    fn start(dir: &Path, image: &Path, nodes: &[String]) -> Result<Self> {
        let (export, socket, started) = (dir.join("export"), dir.join("monitor"), dir.join("started"));
        File::create(&export)?;
        let mut command = Command::new(find("qemu-storage-daemon").context("qemu-storage-daemon is missing")?);
        command.args(["--blockdev", &format!("driver=file,node-name={DISK},filename={}", text(image)?)]);
        nodes.iter().for_each(|node| {
            command.args(["--blockdev", node]);
        });
        let mountpoint = text(&export)?;
        let export_option =
            format!("type=fuse,id=export,node-name={TOP},mountpoint={mountpoint},writable=on,allow-other=off");
        command.args(["--export", &export_option]);
        command.args(["--chardev", &format!("socket,id=monitor,path={},server=on,wait=off", text(&socket)?)]);
        command.args(["--monitor", "chardev=monitor", "--pidfile", text(&started)?]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        // From here on the guard ends it.
        let mut daemon = Self { child, monitor: None, export, faults: 0 };
        let until = Instant::now() + PATIENCE;
        while !started.exists() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("qemu-storage-daemon ended: {status}");
            }
            if Instant::now() > until {
                bail!("qemu-storage-daemon does not start");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        daemon.monitor = Some(Monitor::connect(&socket).context("the monitor")?);
        Ok(daemon)
    }

    /// The file that stands for the device.
    pub fn export(&self) -> &Path {
        &self.export
    }

    /// From now on, `rules` of the `blkdebug` driver (`inject-error`) hold.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn fail(&mut self, rules: &Value) -> Result<()> {
        self.faults += 1;
        let name = format!("faults-{}", self.faults);
        let node = json!({ "driver": "blkdebug", "node-name": name, "image": DISK, "inject-error": rules });
        self.ask("blockdev-add", &node)?;
        self.put_under_top(&name)
    }

    /// From now on, nothing fails any more.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn heal(&mut self) -> Result<()> {
        self.put_under_top(DISK)
    }

    fn put_under_top(&mut self, node: &str) -> Result<()> {
        let top = json!({ "driver": "raw", "node-name": TOP, "file": node });
        self.ask("blockdev-reopen", &json!({ "options": [top] }))
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Result<()> {
        self.monitor.as_mut().context("the monitor is gone")?.ask(command, arguments).map(drop)
    }

    fn end(&mut self) -> Result<()> {
        if let Some(mut monitor) = self.monitor.take() {
            monitor.ask("quit", &json!({}))?;
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until {
                if self.child.try_wait()?.is_some() {
                    return Ok(());
                }
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        bail!("it does not end by itself")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            // Killed, it leaves its export mounted.
            let _ = text(&self.export).and_then(|export| run("umount", ["--lazy", export]));
        }
    }
}
