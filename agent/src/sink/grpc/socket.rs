//! The agent's unix socket: taken so that there is one agent per path, and gone when it ends.
//!
//! Two agents that start at once are kept apart by a lock on the folder, which leaves no file behind.
//! The socket is made under another name and renamed when its mode is right: nobody can connect
//! between.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Where the agent of the whole host serves: root's.
pub const SYSTEM_PATH: &str = "/run/whyslow/agent.sock";

/// Where a client looks when nothing was said: this user's own agent, then the host's.
#[must_use]
pub fn default_paths() -> Vec<PathBuf> {
    let mut paths = vec![default_path(), PathBuf::from(SYSTEM_PATH)];
    paths.dedup();
    paths
}

/// Where an agent serves when nothing was said: below `/run` for root, else below
/// `$XDG_RUNTIME_DIR`.
#[must_use]
pub fn default_path() -> PathBuf {
    if crate::host::is_root() {
        return PathBuf::from(SYSTEM_PATH);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    match runtime {
        Some(folder) => Path::new(&folder).join("whyslow/agent.sock"),
        None => {
            // SAFETY: getuid cannot fail and has no preconditions.
            let user = unsafe { libc::getuid() };
            std::env::temp_dir().join(format!("whyslow-{user}/agent.sock"))
        }
    }
}

/// A socket that is ours. Dropping it removes it.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and inode number: what is there later may be somebody else's.
    identity: (u64, u64),
}

impl Socket {
    /// Takes `path`; a socket that nobody answers on is replaced. `group`: the id of the group that
    /// may connect, when it is not this process's own.
    ///
    /// # Errors
    /// An agent answers there, something else is there, the folder is not writable, or the socket
    /// cannot be given to the group.
    pub fn bind(path: &Path, group: Option<u32>) -> anyhow::Result<(Self, UnixListener)> {
        let shown = path.display();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let failed = |error: io::Error| {
            anyhow::anyhow!(
                "cannot make the socket {shown}: {error}\nhint: choose another --socket"
            )
        };
        make_folder(folder).map_err(failed)?;
        let _lock = lock(folder).map_err(failed)?;
        refuse_occupied(path)?;
        let temporary = folder.join(format!(".whyslow-{}", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(failed)?;
        if let Some(id) = group
            && let Err(error) = lchown(&temporary, None, Some(id))
        {
            let _ = fs::remove_file(&temporary);
            anyhow::bail!(
                "the socket {shown} cannot be given to the group {id}: {error}\nhint: --socket-group takes a group of this user; root may give any"
            );
        }
        let placed = fs::set_permissions(&temporary, fs::Permissions::from_mode(MODE))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::symlink_metadata(&temporary))
            .and_then(|metadata| fs::rename(&temporary, path).map(|()| metadata));
        let metadata = placed.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            failed(error)
        })?;
        let socket = Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        };
        Ok((socket, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the folder for the socket, closed to writers but its owner.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Holds an exclusive lock on the folder until dropped.
fn lock(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    // SAFETY: the descriptor is open for the whole call.
    while unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX) } != 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(folder)
}

/// An error unless `path` is free, or a socket that nobody answers on.
fn refuse_occupied(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        anyhow::bail!("{shown} exists and is no socket\nhint: choose another --socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => anyhow::bail!(
            "an agent is running already: it answers on {shown}\nhint: stop it, or choose another --socket"
        ),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => anyhow::bail!(
            "cannot tell whether an agent runs on {shown}: {error}\nhint: choose another --socket"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn mode_and_removal() {
        let folder = TempDir::new();
        let path = folder.path().join("below/agent.sock");
        let (socket, _listener) = Socket::bind(&path, None).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(socket);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn the_socket_goes_to_the_group() {
        let folder = TempDir::new();
        let path = folder.path().join("agent.sock");
        // Root may give it to any group, others to their own only.
        let group = if crate::host::is_root() {
            4711
        } else {
            fs::metadata(folder.path()).unwrap().gid()
        };
        let (_socket, _listener) = Socket::bind(&path, Some(group)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.gid(), group);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    }

    #[test]
    fn clients_look_at_the_system_s_agent_last() {
        let paths = default_paths();
        assert_eq!(paths.first(), Some(&default_path()));
        assert_eq!(paths.last(), Some(&PathBuf::from(SYSTEM_PATH)));
        assert_eq!(paths.len(), if crate::host::is_root() { 1 } else { 2 });
    }

    #[test]
    fn a_second_agent_is_refused_and_leaves_the_first_alone() {
        let folder = TempDir::new();
        let path = folder.path().join("agent.sock");
        let (_socket, _listener) = Socket::bind(&path, None).unwrap();
        let error = Socket::bind(&path, None).unwrap_err().to_string();
        assert!(error.contains("running already") && error.contains("\nhint: "));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let folder = TempDir::new();
        let path = folder.path().join("agent.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a killed agent leaves its socket");
        let (_socket, _listener) = Socket::bind(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn other_things_are_left_alone() {
        let folder = TempDir::new();
        let path = folder.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        assert!(
            Socket::bind(&path, None)
                .unwrap_err()
                .to_string()
                .contains("no socket")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let (socket, _listener) = Socket::bind(&folder.path().join("other.sock"), None).unwrap();
        fs::remove_file(folder.path().join("other.sock")).unwrap();
        fs::write(folder.path().join("other.sock"), "not ours").unwrap();
        drop(socket);
        assert!(folder.path().join("other.sock").exists());
    }

    #[test]
    fn a_folder_that_is_a_file_is_an_error() {
        let folder = TempDir::new();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = Socket::bind(&folder.path().join("file/agent.sock"), None).unwrap_err();
        assert!(error.to_string().contains("\nhint: "));
    }
}
