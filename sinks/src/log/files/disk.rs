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

/// Behind the name of a file while it is being moved to another folder.
const LINK: &str = ".link";

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
        self.take_back(name)?;
        let moved = self.moved_to(name);
        fs::rename(temporary, self.folder.join(name))?;
        self.sync_folder()?;
        moved.map_or(Ok(()), fs::remove_file)
    }

    /// Removes what a move of a file that was cut short has left in the other folder. The link that says where was
    /// durable before anything was written there, so that it is ours.
    fn take_back(&self, name: &str) -> io::Result<()> {
        let link = self.folder.join(link_name(name));
        let Ok(to) = fs::read_link(&link) else { return Ok(()) };
        for left in [beside(&to), to] {
            match fs::remove_file(&left) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => sync_folder_of(&left)?,
            }
        }
        fs::remove_file(link)?;
        self.sync_folder()
    }
}

/// The name of a link to where a file is being moved.
fn link_name(name: &str) -> String {
    format!("{name}{LINK}")
}

/// Where a file is written before it takes its place.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent().map(File::open) {
        Some(Ok(folder)) => folder.sync_all(),
        // A folder that is not there holds nothing.
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file beside its place, then puts it there: who reads it has the old bytes or the new ones.
fn write_whole(bytes: &[u8], to: &Path) -> io::Result<()> {
    let temporary = beside(to);
    let mut file = File::create(&temporary)?;
    step()?;
    file.write_all(bytes)?;
    file.sync_all()?;
    step()?;
    fs::rename(&temporary, to)?;
    step()?;
    sync_folder_of(to)
}

/// Between two changes of the disk; tests end the process here.
#[cfg(not(test))]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use steps::STEPS;
#[cfg(test)]
use steps::step;

#[cfg(test)]
mod steps {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// Changes of the disk that this thread still makes; `None`: any number.
        pub(crate) static STEPS: Cell<Option<u32>> = const { Cell::new(None) };
    }

    pub(crate) fn step() -> io::Result<()> {
        match STEPS.get() {
            Some(0) => Err(io::Error::from_raw_os_error(5)),
            left => {
                STEPS.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

impl Files for Disk {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What a link of ours points to is removed before the link.
            if entry.path().exists() && !name.ends_with(LINK) {
                names.push(name);
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
        self.take_back(name)?;
        // What was moved out stays there: only so no copy of the old bytes can be left behind.
        let file = self.moved_to(name).unwrap_or_else(|| self.folder.join(name));
        write_whole(bytes, &file)
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
            let _ = fs::remove_file(beside(&moved)); // of a replacement that was cut short
            fs::remove_file(moved)?;
        }
        self.take_back(name)?;
        fs::remove_file(self.folder.join(name))?;
        self.sync_folder()
    }

    fn move_out(&self, name: &str, folder: &Path) -> io::Result<bool> {
        if self.moved_to(name).is_some() {
            return Ok(false);
        }
        self.take_back(name)?;
        fs::create_dir_all(folder)?;
        let to = folder.canonicalize()?.join(name);
        if to.exists() {
            let refused = format!(
                "`{}` is there and is another file; give each log an archive of its own",
                to.display()
            );
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, refused));
        }
        let link = self.folder.join(link_name(name));
        std::os::unix::fs::symlink(&to, &link)?;
        self.sync_folder()?;
        step()?;
        fs::copy(self.folder.join(name), beside(&to))?;
        File::open(beside(&to))?.sync_all()?;
        step()?;
        fs::rename(beside(&to), &to)?;
        sync_folder_of(&to)?;
        step()?;
        fs::rename(&link, self.folder.join(name))?;
        self.sync_folder()?;
        Ok(true)
    }

    fn take_back_moves(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            match name.strip_suffix(LINK) {
                Some(name) => self.take_back(name)?,
                // Of a replacement that was cut short.
                None => drop(self.moved_to(&name).map(|moved| fs::remove_file(beside(&moved)))),
            }
        }
        Ok(())
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
        assert_eq!(fs::read(cold.join("b")).expect("it stays there"), b"anew");
        disk.remove("a").expect("removed");
        assert_eq!(fs::read_dir(&cold).expect("there").count(), 2, "nothing of `a` is left");
        assert_eq!(disk.list().expect("listed"), ["b", "c"]);
        // A removal that was cut short.
        fs::remove_file(cold.join("b")).expect("removed");
        assert_eq!(disk.list().expect("listed"), ["c"]);
    }

    #[test]
    fn a_move_or_a_replacement_that_is_cut_short_leaves_one_whole_file_once_it_is_taken_back() {
        for (replaced, steps) in [false, true].into_iter().flat_map(|r| (0..6).map(move |s| (r, s)))
        {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (log, cold) = (folder.path().join("log"), folder.path().join("cold"));
            let disk = Disk::open(log.clone()).expect("made");
            disk.replace("a.seg", b"old").expect("written");
            if replaced {
                disk.move_out("a.seg", &cold).expect("moved");
            }
            STEPS.set(Some(steps));
            let (done, finishes) = match replaced {
                true => (disk.replace("a.seg", b"new").is_ok(), steps > 2),
                false => (disk.move_out("a.seg", &cold).is_ok(), steps > 2),
            };
            STEPS.set(None);
            assert_eq!(done, finishes, "{steps} steps");
            disk.take_back_moves().expect("taken back");
            let read = disk.read("a.seg").expect("read").expect("it is there");
            assert!(read == b"old" || replaced && read == b"new", "after {steps} steps");
            let names = |folder: &Path| {
                let found = fs::read_dir(folder).into_iter().flatten().flatten();
                found.map(|entry| entry.file_name()).collect::<Vec<_>>()
            };
            assert_eq!(names(&log), ["a.seg"], "after {steps} steps");
            let moved = usize::from(replaced || done);
            assert_eq!(names(&cold).len(), moved, "after {steps} steps");
            disk.move_out("a.seg", &cold).expect("nothing stands in the way");
        }
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
