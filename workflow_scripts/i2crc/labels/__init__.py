"""The pixels of the method: CAM, pseudo labels, refinement, dense CRF."""
