//! A folder of the real file system.
//!
//! Segments are filled with zeros before use: an `fdatasync` on a file whose blocks exist has no
//! metadata to write, which makes a commit several times cheaper than on a growing file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::{Files, LogFile};
use crate::log::LogError;

/// Zeros are written in pieces of this size and made durable after each, so that a commit that runs
/// meanwhile never waits behind a whole segment of them.
const PIECE: usize = 1 << 20;

pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Opens a folder, which is made when it does not exist.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, LogError> {
        let shown = folder.display().to_string();
        fs::create_dir_all(&folder).map_err(LogError::io("make the folder", shown.clone()))?;
        // A folder that was just made survives a power cut once the one above is synced.
        let above =
            folder.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty());
        for above in above {
            File::open(above)
                .and_then(|above| above.sync_all())
                .map_err(LogError::io("make durable the folder of", shown.clone()))?;
        }
        Ok(Self { folder })
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn fill(&self, name: &str, size: u64) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.folder.join(name))?;
        // Asks for the whole room at once: a full disk shows here, and the blocks are contiguous.
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let piece = left.min(PIECE as u64);
            file.write_all(&zeros[..piece as usize])?;
            file.sync_data()?;
            left -= piece;
        }
        file.sync_all()?;
        Ok(file)
    }
}

impl Disk {
    /// Where a file lies that was moved out of the folder.
    fn moved_to(&self, name: &str) -> Option<PathBuf> {
        fs::read_link(self.folder.join(name)).ok()
    }

    /// Puts a file that was written beside it in the place of another.
    fn put(&self, temporary: &Path, name: &str) -> io::Result<()> {
        let moved = self.moved_to(name);
        fs::rename(temporary, self.folder.join(name))?;
        self.sync_folder()?;
        moved.map_or(Ok(()), fs::remove_file)
    }
}

/// Copies a file, durably, unless it is there already.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        // A copy that was not used yet, or the file of another log.
        return match fs::read(from)? == fs::read(to)? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!(
                    "`{}` is there and is another file; give each log an archive of its own",
                    to.display()
                ),
            )),
        };
    }
    let temporary = to.with_extension("tmp");
    fs::copy(from, &temporary)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, to)?;
    to.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

impl Files for Disk {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // What a link of ours points to is removed before the link.
            if entry.path().exists() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.folder.join(format!("{name}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.put(&temporary, name)
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Arc<dyn LogFile>> {
        let temporary = format!("{name}.tmp");
        let file = self.fill(&temporary, size).inspect_err(|_| {
            // Gives the room back at once; the first error is the one to tell.
            let _ = fs::remove_file(self.folder.join(&temporary));
        })?;
        self.put(&self.folder.join(&temporary), name)?;
        Ok(Arc::new(DiskFile { file, size }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        let size = file.metadata()?.len();
        Ok(Arc::new(DiskFile { file, size }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if let Some(moved) = self.moved_to(name) {
            fs::remove_file(moved)?;
        }
        fs::remove_file(self.folder.join(name))?;
        self.sync_folder()
    }

    fn move_out(&self, name: &str, folder: &Path) -> io::Result<bool> {
        let file = self.folder.join(name);
        if self.moved_to(name).is_some() {
            return Ok(false);
        }
        fs::create_dir_all(folder)?;
        let to = folder.canonicalize()?.join(name);
        copy(&file, &to)?;
        let link = self.folder.join(format!("{name}.link"));
        let _ = fs::remove_file(&link); // of a move that was cut short
        std::os::unix::fs::symlink(&to, &link)?;
        fs::rename(&link, &file)?;
        self.sync_folder()?;
        Ok(true)
    }
}

struct DiskFile {
    file: File,
    size: u64,
}

impl LogFile for DiskFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Held while a process uses a data directory; the system lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// Takes the lock of a folder, or says who has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join("LOCK");
        let shown = path.display().to_string();
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(LogError::io("open for writing", shown.clone()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                return Err(LogError::Refused(format!(
                    "the log in `{}` is in use by the process {}; stop it, or give this one another `service.data` \
                     (a file can have one node of kind `log`)",
                    folder.display(),
                    if holder.trim().is_empty() { "that holds its LOCK" } else { holder.trim() },
                )));
            }
            Err(error) => return Err(LogError::io("lock", shown)(error.into())),
        }
        let note = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(LogError::io("write", shown))?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_user_of_the_folder_is_told_who_has_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = Lock::take(folder.path()).expect("free");
        let refused = Lock::take(folder.path()).expect_err("held").to_string();
        assert!(
            refused.contains(&std::process::id().to_string()) && refused.contains("service.data"),
            "{refused}"
        );
        drop(held);
        Lock::take(folder.path()).expect("free again");
    }

    #[test]
    fn a_file_that_was_moved_out_is_found_replaced_and_removed_as_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (disk, cold) =
            (Disk::open(folder.path().join("log")).expect("made"), folder.path().join("cold"));
        for name in ["a", "b", "c"] {
            disk.replace(name, name.as_bytes()).expect("written");
        }
        // As if the move of `a` had been cut short behind its copy.
        fs::create_dir(&cold).expect("made");
        fs::write(cold.join("a"), "a").expect("written");
        fs::write(folder.path().join("log/a.link"), "").expect("written");
        assert!(disk.move_out("a", &cold).expect("moved"));
        assert!(disk.move_out("b", &cold).expect("moved"));
        assert!(!disk.move_out("a", &cold).expect("it was"));
        assert_eq!(disk.read("a").expect("read").as_deref(), Some(&b"a"[..]));
        assert_eq!(disk.open("b").expect("opened").size(), 1);
        assert_eq!(disk.list().expect("listed"), ["a", "b", "c"]);

        fs::write(cold.join("c"), "x").expect("written");
        let refused = disk.move_out("c", &cold).expect_err("of another log").to_string();
        assert!(refused.contains("archive of its own"), "{refused}");
        assert_eq!(fs::read(cold.join("c")).expect("there"), b"x");

        disk.replace("b", b"anew").expect("written");
        disk.remove("a").expect("removed");
        assert_eq!(
            fs::read_dir(&cold).expect("there").count(),
            1,
            "nothing of `a` and the old `b` is left"
        );
        assert_eq!(disk.list().expect("listed"), ["b", "c"]);
        // A removal that was cut short.
        assert!(disk.move_out("b", &cold).expect("moved"));
        fs::remove_file(cold.join("b")).expect("removed");
        assert_eq!(disk.list().expect("listed"), ["c"]);
    }

    #[test]
    fn files_are_zeros_until_written_and_replaced_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::open(folder.path().join("log")).expect("made");
        let file = disk.create_zeroed("a", 3 << 20).expect("made");
        file.write_at(b"xyz", 5).expect("inside");
        file.sync().expect("synced");
        let mut seen = [9; 5];
        disk.open("a").expect("there").read_at(&mut seen, 4).expect("inside");
        assert_eq!(&seen, b"\0xyz\0");
        disk.replace("b", b"one").expect("written");
        disk.replace("b", b"two").expect("written");
        assert_eq!(disk.read("b").expect("read").as_deref(), Some(&b"two"[..]));
        assert_eq!(disk.list().expect("listed"), ["a", "b"]);
    }
}
