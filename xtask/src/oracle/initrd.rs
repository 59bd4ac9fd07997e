//! The userland that Linux is asked with: busybox, and a script that prints what the kernel says of its memory.
//!
//! Format of the archive: `Documentation/driver-api/early-userspace/buffer-format.rst`, "newc".

/// The line that the script prints last.
pub(super) const DONE: &str = "== done";

/// The script. Distances are printed as `numactl --hardware` prints them, which our monitor's `numa` does too.
const INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc none /proc
$b mount -t sysfs none /sys
echo 1 > /proc/sys/kernel/printk
$b sleep 1
echo
$b cat /proc/zoneinfo
echo 'node distances:'
for node in /sys/devices/system/node/node[0-9]*; do
    echo \"${node##*/node}: $($b cat $node/distance)\"
done
echo '== done'
$b poweroff -f
";

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;
/// /dev/console.
const CONSOLE_NUMBER: (u32, u32) = (5, 1);

/// The archive, with this busybox in it.
pub(super) fn archive(busybox: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys"] {
        archive.add(folder, FOLDER, &[], (0, 0));
    }
    archive.add("dev/console", CONSOLE, &[], CONSOLE_NUMBER);
    archive.add("bin/busybox", PROGRAM, busybox, (0, 0));
    archive.add("init", PROGRAM, INIT.as_bytes(), (0, 0));
    archive.add("TRAILER!!!", 0, &[], (0, 0));
    archive.bytes
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8], (major, minor): (u32, u32)) {
        self.entries += 1;
        let (size, name_size) = (data.len() as u32, name.len() as u32 + 1);
        // Number, mode, owner, group, links, time, size, device, device node, length of the name, no checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(data);
        self.align();
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_where_the_one_before_it_ends() {
        let archive = archive(b"odd");
        let field = |at: usize, number: usize| {
            let digits = &archive[at + 6 + 8 * number..][..8];
            usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        let (mut at, mut names) = (0, Vec::new());
        while at < archive.len() {
            assert_eq!(&archive[at..at + 6], b"070701");
            let (size, name_size) = (field(at, 6), field(at, 11));
            let name = std::str::from_utf8(&archive[at + 110..at + 110 + name_size - 1]).unwrap();
            names.push((name, field(at, 1), size));
            at = (at + 110 + name_size).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        assert_eq!(names[4..6], [("dev/console", 0o020_600, 0), ("bin/busybox", 0o100_755, 3)]);
        assert_eq!(names[6..], [("init", 0o100_755, INIT.len()), ("TRAILER!!!", 0, 0)]);
    }

    #[test]
    fn the_script_ends_with_the_line_that_is_waited_for() {
        assert!(INIT.contains(&format!("echo '{DONE}'")));
    }
}
