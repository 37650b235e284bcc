package transfer

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

func TestCatalogMembers(t *testing.T) {
	const head = "@ SOA a b 1 1 1 1 1\n@ NS invalid.\n"
	for _, c := range []struct{ text, want, err string }{
		{head + "version TXT 2\nx.zones PTR One.test.\ny.zones PTR two.test.\ngroup.x.zones TXT blue\nother PTR no.test.",
			"[one.test. two.test.]", ""},
		{head + "version TXT 2", "[]", ""},
		{head + "x.zones PTR one.test.", "", "version 2"},
		{head + "version TXT 1\nx.zones PTR one.test.", "", "version 2"},
		{head + "version TXT 2\nversion TXT 3\nx.zones PTR one.test.", "", "version 2"},
		{head + "version TXT 2\nx.zones PTR one.test.\nx.zones PTR two.test.", "", "broken"},
		{head + "version TXT 2\nx.zones PTR one.test.\ny.zones PTR one.test.", "", "broken"},
	} {
		z, err := parseContent("cat.example.", "$TTL 0\n"+c.text+"\n")
		if err != nil {
			t.Fatal(err)
		}
		names, err := z.members()
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && fmt.Sprint(names) != c.want {
			t.Errorf("%s: %v, %v", c.text, names, err)
		}
	}
}

func TestCatalogIsFollowed(t *testing.T) {
	d := newDesk(t, `kind: Zone
tenant: platform
name: cat.example.
spec:
  primaries: [{address: 127.0.0.1}]
  members: {primaries: [{address: 127.0.0.2, key: one}], transfer: {allow: [{key: one}]}}
---
kind: Zone
tenant: platform
name: declared.test.
spec: {nameservers: [ns.test.], contact: a.test.}
`)
	follow := func(lines string) {
		t.Helper()
		c, err := parseContent("cat.example.", "$TTL 0\n@ SOA a b 1 1 1 1 1\nversion TXT 2\n"+lines)
		if err == nil {
			err = d.c.follow(context.Background(), "cat.example.", c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	zones := func() string {
		state, err := d.w.State(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range state.Tenant(spec.Platform) {
			if z := r.Spec.(*spec.Zone); z.MemberOf != "" {
				names = append(names, fmt.Sprintf("%s %s", r.Name, z.Primaries[0].Address))
			}
		}
		return strings.Join(names, ", ")
	}
	follow("x.zones PTR one.test.\ny.zones PTR two.test.\nz.zones PTR declared.test.\n")
	if got := zones(); got != "one.test. 127.0.0.2, two.test. 127.0.0.2" {
		t.Errorf("members: %s", got)
	}
	n := len(d.m.states)
	follow("x.zones PTR one.test.\ny.zones PTR two.test.\n")
	if len(d.m.states) != n {
		t.Errorf("the same list made a generation")
	}
	follow("y.zones PTR two.test.\nw.zones PTR three.test.\n")
	if got := zones(); got != "three.test. 127.0.0.2, two.test. 127.0.0.2" {
		t.Errorf("members: %s", got)
	}
	if d.m.zone("declared.test.").MemberOf != "" {
		t.Errorf("the catalog took a zone over that stood here")
	}
}
