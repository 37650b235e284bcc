package store

import (
	"cmp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// note is a followed kind that only this file knows of.
type note struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

var notes = state.Register(state.Kind[string, note]{
	Prefix: []string{"allocation", "note"}, Frame: 'n', Gone: "notesDeleted", Most: 100,
	Name:    func(n note) string { return n.Name },
	Compare: cmp.Compare[string],
	Parse:   func(parts []string) (string, bool) { return parts[0], len(parts) == 1 },
	Same:    func(a, b note) bool { return a == b },
	What:    "note", Misread: "a note is not understood",
})

// TestAFollowedKindIsOneFile: what this file alone declares is followed, mirrored, joined, kept on disk and told anew, and is left as it
// was where it is damaged or too large.
func TestAFollowedKindIsOneFile(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	write := func(name, value string) { put(t, c, c.keys.Join("allocation", "note", name), value) }
	write("a", `{"name":"a","text":"one","later":7}`)
	f := follow(t, c, nil)
	has := func(f *following, want map[string]note) {
		t.Helper()
		f.until("the notes", func() bool { return gocmp.Equal(notes.All(f.mirror), want) })
	}
	has(f, map[string]note{"a": {"a", "one"}})

	dir := t.TempDir()
	disk, _, err := snapshot.Open(dir, nil)
	if err == nil {
		err = disk.Append(f.mirror.Full())
	}
	if err != nil {
		t.Fatal(err)
	}
	write("b", `{"name":"b","text":"two"}`)
	has(f, map[string]note{"a": {"a", "one"}, "b": {"b", "two"}})
	write("a", `{"name":"a","text":"`+strings.Repeat("long", 25)+`"}`)
	write("b", `{"name":"b"`)
	write("c", `{"name":"another"}`)
	write("d", `{"name":"d","text":"four"}`)
	want := map[string]note{"a": {"a", "one"}, "b": {"b", "two"}, "d": {"d", "four"}}
	has(f, want)
	if _, err := c.link.Etcd.Delete(ctx, c.keys.Join("allocation", "note", "d")); err != nil {
		t.Fatal(err)
	}
	delete(want, "d")
	has(f, want)

	if err := disk.Append(state.Joined(f.told()[1:])); err != nil {
		t.Fatal(err)
	}
	disk.Close()
	disk, u, err := snapshot.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	disk.Close()
	if got := notes.In(*u).Put; !gocmp.Equal(got, []note{{"a", "one"}, {"b", "two"}}) {
		t.Errorf("from disk came %+v", got)
	}
	write("e", `{"name":"e"}`)
	want["e"] = note{Name: "e"}
	back := followFrom(t, c, u.Position(), u)
	has(back, want)
	for _, u := range back.told() {
		if n := notes.In(u); len(n.Put) != 1 || len(n.Deleted) != 0 {
			t.Errorf("who came back was told %+v", n)
		}
	}
	fresh := follow(t, c, nil)
	has(fresh, map[string]note{"e": {Name: "e"}})
	if broken := notes.In(fresh.told()[0]).Broken; !gocmp.Equal(broken, []string{"a", "b", "c"}) {
		t.Errorf("told as broken: %v", broken)
	}
	if _, err := notes.Encode(note{"f", strings.Repeat("x", 100)}); err == nil || !strings.Contains(err.Error(), "more than the 100") {
		t.Errorf("a large note is encoded: %v", err)
	}
}
