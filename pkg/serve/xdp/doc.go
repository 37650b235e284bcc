// Package xdp takes UDP datagrams from a network interface, and sends the replies, past the kernel's network stack:
// by a small XDP program that picks them out, and one AF_XDP socket for each receive queue. Whatever else comes (TCP,
// fragments, IP options, extension headers, other addresses and ports, tagged frames) goes to the kernel as ever.
//
// A frame stands in memory that the kernel and this process share (UMEM). It goes round: the kernel receives into it,
// its datagram is answered in place, it is sent, and it is there to be received into again. There are as many
// places in each ring as there are frames, so no ring is ever full.
//
// The frames' bytes are foreign: Datagram is the only reader of their headers, and believes no length in them.
//
// It needs Linux 5.9, and CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF; see docs/operating.md.
package xdp
