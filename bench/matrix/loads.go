package main

import (
	"fmt"
	"slices"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
)

// A lane is one row of a load's table: a server and the queries that it is asked.
type lane struct {
	name    string // in tables
	on      string // the subject, floor for a floor
	file    string // of queries
	like    string // of a floor: the lane whose answers' size it sends
	bundled bool   // of a floor: answers to one client go to the kernel as one message
}

func (l lane) isFloor() bool { return l.on == "floor" }

// A comparison is a ratio that is told. Where aside is set, both sides are first divided by the floors of these names:
// what is left is what the server adds to the bytes.
type comparison struct {
	of, over string
	aside    [2]string
	mark     float64 // 0: none
}

// A load is what is asked, of whom, and what is compared.
type load struct {
	name, about string
	names       int    // of each kind in the job
	ports       int    // from which is asked; 0: few
	lanes       []lane // gtm first: the others' answers are held against its answers
	paced       bool   // at fixed rates as well
	steers      bool   // answers are drawn from a pool
	signed      bool
	compare     []comparison
}

// small is how many names of each kind the small job has.
const small = 1000

// loads lists everything that can be measured: the loads of the small job, and two for each larger number of names.
func loads(large []int) []load {
	all := []load{
		{name: "steered", about: "Names steered by the client's continent (client subnet of /24) to weighted pools. Knot draws no " +
			"weights: it has the heavier address only.",
			names: small, lanes: append(on(peers.Steered, "gtm", "gdnsd", "knot", "pdns"), floorLike("gtm"), bundledLike("gtm")),
			paced: true, steers: true,
			compare: []comparison{{of: "gtm", over: "floor", mark: 0.95}, {of: "gtm", over: "gdnsd", mark: 1}, {of: "gtm", over: "knot"},
				{of: "gtm", over: "pdns"}, {of: "gtm", over: "floor bundled"}}},
		{name: "steered-ports", about: "The same, each query from the next of 256 ports, as resolvers ask: there is next to nothing " +
			"that could be bundled. The load has as much to do as the server here, so that the server's core may not be full.",
			names: small, ports: 256, lanes: append(on(peers.Steered, "gtm", "gdnsd", "knot"), floorLike("gtm")), paced: true, steers: true,
			compare: []comparison{{of: "gtm", over: "floor", mark: 0.95}, {of: "gtm", over: "gdnsd", mark: 1}, {of: "gtm", over: "knot"}}},
		{name: "static", about: "Static names.",
			names: small, lanes: append(on(peers.Static, "gtm", "gdnsd", "knot", "nsd", "bind", "pdns"), floorLike("gtm"),
				bundledLike("gtm")), paced: true,
			compare: []comparison{{of: "gtm", over: "floor", mark: 0.97}, {of: "gtm", over: "gdnsd", mark: 1},
				{of: "gtm", over: "knot", mark: 1},
				{of: "gtm", over: "nsd"}, {of: "gtm", over: "bind"}, {of: "gtm", over: "pdns"}, {of: "gtm", over: "floor bundled"}}},
		{name: "mixed", about: "Half of the names do not exist, half are below delegations. The floor sends the mean size of gtm's " +
			"answers.",
			names: small, lanes: append(on(peers.Mixed, "gtm", "gdnsd", "knot", "nsd", "bind"), floorLike("gtm")),
			compare: []comparison{{of: "gtm", over: "floor"}, {of: "gtm", over: "gdnsd"}, {of: "gtm", over: "knot"},
				{of: "gtm", over: "nsd"}, {of: "gtm", over: "bind"}}},
		{name: "steered-signed", about: "The steered names of a signed zone, asked with DO, beside the same of an unsigned zone in " +
			"the same server. \"Bytes aside\" divides each by the floor of its own size.",
			names: small, paced: true, steers: true, signed: true,
			lanes: append(append(on(peers.SteeredSigned, "gtm", "knot"), lane{name: "gtm unsigned", on: "gtm", file: peers.SteeredDO}),
				floorLike("gtm"), lane{name: "floor unsigned", on: "floor", file: peers.SteeredDO, like: "gtm unsigned"}),
			compare: []comparison{{of: "gtm", over: "gtm unsigned", aside: [2]string{"floor", "floor unsigned"}, mark: 0.8},
				{of: "gtm", over: "gtm unsigned"}, {of: "gtm", over: "floor"}, {of: "gtm", over: "knot"}}},
		{name: "static-signed", about: "Static names of a signed zone, asked with DO.",
			names: small, lanes: append(on(peers.StaticSigned, "gtm", "knot", "nsd", "bind"), floorLike("gtm")), signed: true,
			compare: []comparison{{of: "gtm", over: "floor"}, {of: "gtm", over: "knot"}, {of: "gtm", over: "nsd"},
				{of: "gtm", over: "bind"}}},
	}
	for _, n := range large {
		all = append(all, load{name: "steered-" + short(n), about: short(n) + " steered names beside as many static ones, asked at random.",
			names: n, lanes: append(on(peers.Steered, "gtm", "gdnsd"), floorLike("gtm")), steers: true,
			compare: []comparison{{of: "gtm", over: "floor"}, {of: "gtm", over: "gdnsd"}}},
			load{name: "static-" + short(n), about: "The static names among these, asked at random.",
				names: n, lanes: append(on(peers.Static, "gtm", "gdnsd", "knot", "nsd"), floorLike("gtm")),
				compare: []comparison{{of: "gtm", over: "floor"}, {of: "gtm", over: "gdnsd"}, {of: "gtm", over: "knot"},
					{of: "gtm", over: "nsd"}}})
	}
	return all
}

// on makes a lane for each subject, named as that.
func on(file string, subjects ...string) []lane {
	var lanes []lane
	for _, s := range subjects {
		lanes = append(lanes, lane{name: s, on: s, file: file})
	}
	return lanes
}

// floorLike is the floor that sends as many bytes as the lane of that name; it is asked what gtm is asked.
func floorLike(name string) lane { return lane{name: "floor", on: "floor", like: name} }

// bundledLike is a floor like that which bundles.
func bundledLike(name string) lane {
	return lane{name: "floor bundled", on: "floor", like: name, bundled: true}
}

// short writes a number of names: 100k, 1M.
func short(n int) string {
	switch {
	case n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

// choose leaves the loads that only names, and of these the lanes that installed says are there; the others are missing. Floors
// get the queries of the lane that they are like.
func choose(all []load, only string, installed func(string) bool) (chosen []load, missing []string, err error) {
	var names []string
	for _, l := range all {
		names = append(names, l.name)
	}
	if names, err = program.Choose(only, names); err != nil {
		return nil, nil, err
	}
	for _, l := range all {
		if !slices.Contains(names, l.name) {
			continue
		}
		l.lanes = slices.DeleteFunc(l.lanes, func(lane lane) bool {
			if lane.isFloor() || installed(lane.on) {
				return false
			}
			if !slices.Contains(missing, lane.on) {
				missing = append(missing, lane.on)
			}
			return true
		})
		for i, floor := range l.lanes {
			if at := slices.IndexFunc(l.lanes, func(lane lane) bool { return lane.name == floor.like }); at >= 0 {
				l.lanes[i].file = l.lanes[at].file
			}
		}
		l.compare = slices.DeleteFunc(l.compare, func(c comparison) bool { return !l.has(c.of) || !l.has(c.over) })
		chosen = append(chosen, l)
	}
	return chosen, missing, nil
}

func (l load) has(name string) bool {
	return slices.ContainsFunc(l.lanes, func(lane lane) bool { return lane.name == name })
}
