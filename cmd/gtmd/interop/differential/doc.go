// Package differential has its tests (build tag interop) ask gtm, knotd and nsd the same questions about the same random zones.
package differential
