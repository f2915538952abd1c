//! Whole meshes in one thread, on virtual time, with networks, disks, processes and clocks that fail as a seed says.

pub mod workload;
