//! Whole meshes of replication engines in virtual time: everything that a seed decides, it decides again.

mod chaos;
mod claims;
mod disk;
mod hostile;
mod load;
mod sim;
