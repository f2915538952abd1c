//! Clocks, dots, delta-state CRDTs and their encodings for the Meshwork data mesh.
