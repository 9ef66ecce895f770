//! Where things are in the arena.
//!
//! ```text
//! 0         header                64 KiB   magic, limits, high-water marks, global sections
//! units     unit words            8 B a unit of 64 KiB: what the unit is used for, is it committed
//! processes process slots         1 KiB each
//! members   member slots          512 B each
//! names     name buckets          8 B each
//! objects   object headers        512 B each
//! sides     side words of blocks  4 KiB a unit
//! data      blocks                the rest
//! ```
//!
//! All-zero is a valid empty arena: nothing has to be written before the first use, so there is no
//! crash between "made" and "ready". Tables are reserved at their full size and committed unit by unit
//! as they grow. All numbers are little-endian.

use crate::map::Offset;

/// Version of this layout; a process with another one cannot join.
pub const VERSION: u64 = 1;
/// "polyproc" read as a little-endian number.
pub const MAGIC: u64 = 0x636f_7270_796c_6f70;
/// A unit of commitment and of large allocation, in bytes.
pub const UNIT: u64 = 64 << 10;
/// Size of a process slot.
pub const PROCESS: u64 = 1024;
/// Size of a member slot.
pub const MEMBER: u64 = 512;
/// Size of an object header.
pub const OBJECT: u64 = 512;
/// Side words of one unit, in bytes.
pub const SIDE: u64 = 4096;
/// Most processes in a family: holder bits are eight words.
pub const MOST_PROCESSES: u64 = 512;
/// Most members: a slot number has twelve bits.
pub const MOST_MEMBERS: u64 = 4096;
/// Buckets of the name table.
pub const NAME_BUCKETS: u64 = 8192;
/// The smallest arena worth reserving, in bytes.
pub const LEAST_SIZE: u64 = 256 << 20;
/// The size reserved where nothing limits it, in bytes.
pub const MOST_SIZE: u64 = 64 << 30;

/// Offsets of the header's words.
pub mod header {
    use super::Offset;
    /// [`super::MAGIC`].
    pub const MAGIC: Offset = 0;
    /// [`super::VERSION`].
    pub const VERSION: Offset = 8;
    /// Random number of the family.
    pub const NONCE: Offset = 16;
    /// Bytes reserved.
    pub const SIZE: Offset = 24;
    /// The limit on committed bytes; 0 until the first use settles it.
    pub const MAX_BYTES: Offset = 64;
    /// The limit on processes; 0 until settled.
    pub const MAX_PROCESSES: Offset = 72;
    /// The limit on members; 0 until settled.
    pub const MAX_MEMBERS: Offset = 80;
    /// Committed bytes. Changed in the units section, recounted when a holder dies in it.
    pub const COMMITTED: Offset = 128;
    /// Units above this one have never been used.
    pub const UNITS_HIGH: Offset = 136;
    /// The unit being changed, for whoever takes the section over.
    pub const UNITS_WORK: Offset = 144;
    /// Process slots from this one on have never been used.
    pub const PROCESSES_HIGH: Offset = 192;
    /// Member slots from this one on have never been used.
    pub const MEMBERS_HIGH: Offset = 200;
    /// Object headers from this one on have never been used.
    pub const OBJECTS_HIGH: Offset = 208;
    /// Counts deaths that were recovered; for tests and `inspect`.
    pub const DEATHS: Offset = 216;
    /// Row of named words, one a spinning thread; see `wait::spin`.
    pub const SPINNERS: Offset = 256;
    /// Words in that row.
    pub const SPINNERS_LEN: u64 = 16;
    /// Section of the unit words.
    pub const UNITS_SECTION: Offset = 1024;
    /// Section of the name table.
    pub const NAMES_SECTION: Offset = 1280;
}

/// Offsets and counts that follow from the size of the arena.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Bytes reserved, a multiple of [`UNIT`].
    pub size: u64,
    /// First unit word.
    pub units: Offset,
    /// Units in all, tables included.
    pub units_len: u64,
    /// First process slot.
    pub processes: Offset,
    /// Process slots.
    pub processes_len: u64,
    /// First member slot; slot 0 is never given out.
    pub members: Offset,
    /// Member slots.
    pub members_len: u64,
    /// First name bucket.
    pub names: Offset,
    /// Name buckets.
    pub names_len: u64,
    /// First object header; header 0 is never given out.
    pub objects: Offset,
    /// Object headers.
    pub objects_len: u64,
    /// First side word.
    pub sides: Offset,
    /// First byte of data, a multiple of [`UNIT`].
    pub data: Offset,
}

const fn up(value: u64) -> u64 {
    value.div_ceil(UNIT) * UNIT
}

impl Layout {
    /// The layout of an arena of `size` bytes (rounded down to units).
    #[must_use]
    pub fn of(size: u64) -> Self {
        Self::with(
            size,
            MOST_PROCESSES,
            MOST_MEMBERS,
            NAME_BUCKETS,
            (size / 64 / OBJECT).max(64),
        )
    }

    /// A layout with chosen table sizes: models and tests use small ones.
    #[must_use]
    pub fn with(size: u64, processes_len: u64, members_len: u64, names_len: u64, objects_len: u64) -> Self {
        let size = size / UNIT * UNIT;
        let units_len = size / UNIT;
        let units = UNIT;
        let processes = up(units + units_len * 8);
        let members = up(processes + processes_len * PROCESS);
        let names = up(members + members_len * MEMBER);
        let objects = up(names + names_len * 8);
        let sides = up(objects + objects_len * OBJECT);
        let data = up(sides + units_len * SIDE);
        Self {
            size,
            units,
            units_len,
            processes,
            processes_len,
            members,
            members_len,
            names,
            names_len,
            objects,
            objects_len,
            sides,
            data,
        }
    }

    // Numbers that were read from shared memory may be anything: what comes out is checked by the map.

    /// The word of unit `unit`.
    #[must_use]
    pub fn unit_word(&self, unit: u64) -> Offset {
        self.units.wrapping_add(unit.wrapping_mul(8))
    }

    /// The side word of block `index` of unit `unit`.
    #[must_use]
    pub fn side_word(&self, unit: u64, index: u64) -> Offset {
        self.sides
            .wrapping_add(unit.wrapping_mul(SIDE))
            .wrapping_add(index.wrapping_mul(8))
    }

    /// The slot of process `index`.
    #[must_use]
    pub fn process(&self, index: u64) -> Offset {
        self.processes.wrapping_add(index.wrapping_mul(PROCESS))
    }

    /// The slot of member `index`.
    #[must_use]
    pub fn member(&self, index: u64) -> Offset {
        self.members.wrapping_add(index.wrapping_mul(MEMBER))
    }

    /// The header of object `index`.
    #[must_use]
    pub fn object(&self, index: u64) -> Offset {
        self.objects.wrapping_add(index.wrapping_mul(OBJECT))
    }
}
