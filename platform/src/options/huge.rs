//! `hugepages=`, `hugepagesz=`, `default_hugepagesz=`: large pages set aside at boot.
//!
//! `hugepages=` says how many of the size that the `hugepagesz=` before it names, or of the default size where none
//! stands before it: a number in all, or `NODE:NUMBER,NODE:NUMBER`. Which sizes there are depends on the machine, so
//! that is not asked here. Linux: `hugepages_setup`, `hugepagesz_setup`, `default_hugepagesz_setup` in mm/hugetlb.c.

use super::size::{leading_number, size};
use arrayvec::ArrayVec;
use mm::addr::NodeId;

/// Requests that are kept; more are an error.
const MOST_REQUESTS: usize = 64;

/// So many pages of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HugeRequest {
    /// Bytes of a page; `None`: the default size.
    pub size: Option<u64>,
    /// On this node alone; `None`: spread over all of them.
    pub node: Option<NodeId>,
    /// How many; 0 where a size was only named.
    pub pages: u64,
}

/// Of which size the next `hugepages=` is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Subject {
    #[default]
    DefaultSize,
    Size(u64),
    /// The one before took it, or its size was not understood.
    Nothing,
}

/// What the command line says of large pages.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HugeOption {
    /// The default size; `None`: that of one entry in the second-lowest table.
    pub default_size: Option<u64>,
    requests: ArrayVec<HugeRequest, MOST_REQUESTS>,
    subject: Subject,
}

impl HugeOption {
    /// What was asked for, in order.
    #[must_use]
    pub fn requests(&self) -> &[HugeRequest] {
        &self.requests
    }

    /// Whether anything was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.default_size.is_none() && self.requests.is_empty()
    }

    /// Takes a `hugepagesz=`.
    pub(super) fn take_size(&mut self, value: &str) -> Result<(), &'static str> {
        self.subject = Subject::Nothing;
        let size = page_size(value)?;
        if self.requests.iter().any(|request| request.size == Some(size)) {
            return Err("named twice");
        }
        self.push(HugeRequest { size: Some(size), node: None, pages: 0 })?;
        self.subject = Subject::Size(size);
        Ok(())
    }

    /// Takes a `default_hugepagesz=`. A `hugepages=` behind it is of that size.
    pub(super) fn take_default_size(&mut self, value: &str) -> Result<(), &'static str> {
        if self.default_size.is_some() {
            return Err("given twice");
        }
        self.default_size = Some(page_size(value)?);
        self.subject = Subject::DefaultSize;
        Ok(())
    }

    /// Takes a `hugepages=`.
    pub(super) fn take_pages(&mut self, value: &str) -> Result<(), &'static str> {
        let size = match core::mem::replace(&mut self.subject, Subject::Nothing) {
            Subject::DefaultSize => None,
            Subject::Size(size) => Some(size),
            Subject::Nothing => return Err("it stands behind no valid hugepagesz="),
        };
        let kept = self.requests.len();
        let taken = value.split(',').try_for_each(|one| {
            let (node, pages) = match one.split_once(':') {
                Some((node, pages)) => (Some(self::node(node)?), number(pages)?),
                None if value == one => (None, number(one)?),
                None => return Err("not NODE:NUMBER,NODE:NUMBER"),
            };
            self.push(HugeRequest { size, node, pages })
        });
        if taken.is_err() {
            self.requests.truncate(kept);
        }
        taken
    }

    fn push(&mut self, request: HugeRequest) -> Result<(), &'static str> {
        self.requests.try_push(request).map_err(|_| "more than 64 requests")
    }
}

fn page_size(value: &str) -> Result<u64, &'static str> {
    let size = size(value).map_err(|error| error.reason())?;
    if size.is_power_of_two() { Ok(size) } else { Err("not a power of two") }
}

fn number(value: &str) -> Result<u64, &'static str> {
    match leading_number(value) {
        Ok((number, "")) => Ok(number),
        Ok(_) => Err("not a number"),
        Err(error) => Err(error.reason()),
    }
}

fn node(value: &str) -> Result<NodeId, &'static str> {
    let number = u16::try_from(number(value)?).ok().filter(|node| usize::from(*node) < NodeId::MAX_COUNT);
    number.map(NodeId::new).ok_or("no node has such a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn request(size: Option<u64>, node: Option<u16>, pages: u64) -> HugeRequest {
        let node = match node {
            Some(node) => Some(NodeId::new(node)),
            None => None,
        };
        HugeRequest { size, node, pages }
    }

    /// Takes `name=value` items; the reasons of those that were refused come second.
    fn take(line: &str) -> (HugeOption, Vec<&'static str>) {
        let mut option = HugeOption::default();
        let refused = line.split(' ').filter_map(|item| match item.split_once('=').unwrap() {
            ("hugepages", value) => option.take_pages(value).err(),
            ("hugepagesz", value) => option.take_size(value).err(),
            (_, value) => option.take_default_size(value).err(),
        });
        let refused = refused.collect();
        (option, refused)
    }

    #[test]
    fn a_number_is_of_the_size_before_it() {
        let (option, refused) = take("hugepages=3 hugepagesz=1G hugepages=2 hugepagesz=2M hugepages=0:4,3:1");
        let expected = [
            request(None, None, 3),
            request(Some(1 << 30), None, 0),
            request(Some(1 << 30), None, 2),
            request(Some(2 << 20), None, 0),
            request(Some(2 << 20), Some(0), 4),
            request(Some(2 << 20), Some(3), 1),
        ];
        assert_eq!((option.requests(), refused), (expected.as_slice(), vec![]));
        let (option, refused) = take("default_hugepagesz=1G hugepages=2");
        assert_eq!((option.default_size, refused), (Some(1 << 30), vec![]));
        assert_eq!(option.requests(), [request(None, None, 2)]);
    }

    #[test]
    fn what_cannot_be_understood_changes_nothing() {
        for line in [
            "hugepages=",
            "hugepages=x",
            "hugepages=2M",
            "hugepages=0:1,2",
            "hugepages=0:1,",
            "hugepages=1024:1",
            "hugepages=0:1:2",
            "hugepages=-1",
            "hugepagesz=3M",
            "hugepagesz=0",
            "hugepagesz=",
            "default_hugepagesz=1000",
        ] {
            let (option, refused) = take(line);
            assert_eq!((option.requests(), refused.len()), ([].as_slice(), 1), "{line}");
        }
    }

    #[test]
    fn a_number_needs_a_size_of_its_own() {
        assert_eq!(take("hugepages=1 hugepages=2").1, ["it stands behind no valid hugepagesz="]);
        let (option, refused) = take("hugepagesz=3M hugepages=2");
        assert_eq!((option.is_empty(), refused.len()), (true, 2));
        assert_eq!(take("hugepagesz=1G hugepages=1 hugepagesz=1G").1, ["named twice"]);
        assert_eq!(take("default_hugepagesz=1G default_hugepagesz=2M").1, ["given twice"]);
    }

    #[test]
    fn there_is_a_most_of_requests() {
        let line = (0..65).map(|node| format!("{node}:1")).collect::<Vec<_>>().join(",");
        let (option, refused) = take(&format!("hugepages={line}"));
        assert_eq!((option.requests().len(), refused), (0, vec!["more than 64 requests"]));
    }
}
