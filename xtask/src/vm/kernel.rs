//! The kernels to boot, and how to get them: from the distribution's packages, with apt, which
//! verifies them. Nothing is installed: the package is unpacked and only its `vmlinuz` kept.
//!
//! The cache holds one folder per package version. Without a package list or network a cached
//! kernel is used; with neither there is a reason to skip, never a failure and never a pass.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};

use super::apt;

/// One kernel of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// What `--kernel` takes.
    pub(crate) key: &'static str,
    /// Package names begin with this. It ends in a dot, so that 6.1 does not match 6.12.
    prefix: &'static str,
    /// Package names end with this.
    suffix: &'static str,
    /// The image within the package: the start of its path.
    image: &'static str,
}

/// The matrix. A row is all that a further kernel needs, as long as apt knows its suite.
pub(crate) const KERNELS: &[Kernel] = &[Kernel {
    key: "6.1",
    prefix: "linux-image-6.1.",
    suffix: "-cloud-amd64",
    image: "boot/vmlinuz-",
}];

/// Picks the rows for `keys`; none means all.
///
/// # Errors
/// A key that is not in the table.
pub(crate) fn select(keys: &[String]) -> Result<Vec<Kernel>> {
    if keys.is_empty() || keys.iter().any(|key| key == "all") {
        return Ok(KERNELS.to_vec());
    }
    let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.key).collect();
    keys.iter()
        .map(|key| {
            let row = KERNELS.iter().find(|kernel| kernel.key == key);
            row.copied().with_context(|| {
                format!("no kernel {key}\nhint: known are {}, all", known.join(", "))
            })
        })
        .collect()
}

impl Kernel {
    /// Path of this kernel's image below `cache`, fetched when it is not there.
    ///
    /// # Errors
    /// The reason why there is none: to be reported as a skip.
    pub(crate) fn fetch(&self, cache: &Path) -> Result<PathBuf> {
        let fetched = self.fetch_newest(cache).or_else(|_| {
            // The lists may be missing, or older than what the archive still has.
            let updated = apt::update();
            self.fetch_newest(cache).map_err(|error| match updated {
                Ok(()) => error,
                Err(cause) => anyhow!("{error:#}; {cause:#}"),
            })
        });
        fetched.or_else(|error| match self.newest_cached(cache) {
            Some(image) => {
                println!(
                    "vm {}: no newer kernel ({error:#}), using the cached one",
                    self.key
                );
                Ok(image)
            }
            None => Err(error),
        })
    }

    fn fetch_newest(&self, cache: &Path) -> Result<PathBuf> {
        let package = apt::newest(self.prefix, self.suffix)?;
        let version = apt::candidate(&package)?;
        // A version may contain a colon (epoch), which paths in lists do not take well.
        let folder = cache.join(format!("{package}_{}", version.replace(':', "%3a")));
        let image = folder.join("vmlinuz");
        if !image.is_file() {
            self.unpack(&package, &version, &folder)?;
        }
        Ok(image)
    }

    /// Downloads the package and keeps its image. The image appears under its final name only
    /// when it is complete.
    fn unpack(&self, package: &str, version: &str, folder: &Path) -> Result<()> {
        println!("vm {}: fetching {package} {version}", self.key);
        let work = folder.with_extension("part");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        let archive = apt::download(package, version, &work)?;
        let root = work.join("root");
        apt::extract(&archive, &root)?;
        let image = find_image(&root, self.image)?;
        fs::create_dir_all(folder)?;
        fs::rename(&image, folder.join("vmlinuz"))?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }

    /// The newest image in the cache, by version.
    fn newest_cached(&self, cache: &Path) -> Option<PathBuf> {
        let folders = fs::read_dir(cache).ok()?.flatten();
        let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
        let ours = names.filter(|name| {
            let package = name.split('_').next().unwrap_or_default();
            name.starts_with(self.prefix)
                && package.ends_with(self.suffix)
                && cache.join(name).join("vmlinuz").is_file()
        });
        let newest = ours.max_by_key(|name| apt::version_key(name))?;
        Some(cache.join(newest).join("vmlinuz"))
    }
}

/// The one file below `root` whose path starts with `prefix`.
fn find_image(root: &Path, prefix: &str) -> Result<PathBuf> {
    let (folder, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let folder = root.join(folder);
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("the package has no {}", folder.display()))?
        .flatten();
    let mut images = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image.path()),
        (None, _) => bail!("the package has no {prefix}*"),
        (Some(_), Some(_)) => bail!("the package has several {prefix}*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_select_rows_and_unknown_ones_are_refused() {
        assert_eq!(select(&[]).unwrap().len(), KERNELS.len());
        assert_eq!(select(&["all".to_owned()]).unwrap().len(), KERNELS.len());
        assert_eq!(select(&["6.1".to_owned()]).unwrap()[0].key, "6.1");
        let error = select(&["6.1".to_owned(), "2.4".to_owned()]).unwrap_err();
        assert!(
            format!("{error:#}").contains("hint: known are 6.1"),
            "{error:#}"
        );
    }

    #[test]
    fn a_prefix_ends_in_a_dot_so_that_it_names_one_series() {
        for kernel in KERNELS {
            assert!(kernel.prefix.ends_with('.'), "{}", kernel.key);
            assert!(kernel.prefix.contains(kernel.key), "{}", kernel.key);
        }
    }

    #[test]
    fn the_newest_cached_image_is_found_and_half_made_folders_are_not() {
        let cache = std::env::temp_dir().join(format!("whyslow-vm-cache-{}", std::process::id()));
        for name in [
            "linux-image-6.1.0-9-cloud-amd64_6.1.27-1",
            "linux-image-6.1.0-50-cloud-amd64_6.1.176-1",
        ] {
            fs::create_dir_all(cache.join(name)).unwrap();
            fs::write(cache.join(name).join("vmlinuz"), "x").unwrap();
        }
        fs::create_dir_all(cache.join("linux-image-6.1.0-99-cloud-amd64_6.1.999-1")).unwrap();
        fs::create_dir_all(cache.join("linux-image-6.12.0-1-cloud-amd64_6.12.1-1")).unwrap();
        let newest = KERNELS[0].newest_cached(&cache).unwrap();
        assert!(newest.ends_with("linux-image-6.1.0-50-cloud-amd64_6.1.176-1/vmlinuz"));
        fs::remove_dir_all(&cache).unwrap();
        assert_eq!(KERNELS[0].newest_cached(&cache), None);
    }
}
