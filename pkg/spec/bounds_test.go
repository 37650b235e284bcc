package spec

import (
	"fmt"
	"strings"
	"testing"
)

// TestFaultsAreBounded: a list took any number of faults from those who appended to it, with texts as long as the sender liked.
func TestFaultsAreBounded(t *testing.T) {
	var errs Errors
	for i := range MaxErrors + 5 {
		if errs.Full() != (i >= MaxErrors) {
			t.Fatalf("full after %d", i)
		}
		long := strings.Repeat("ä", maxText)
		errs.Add(&Error{File: long, Resource: long, Field: long, Msg: long, Hint: long})
	}
	if len(errs) != MaxErrors || len(errs[0].Error()) > 6*maxText || !strings.HasSuffix(errs[0].Msg, "ä...") {
		t.Errorf("%d faults, the first of %d bytes", len(errs), len(errs[0].Error()))
	}
}

// TestValuesAreBoundedByTheirBytes: "0," has two bytes, and what it becomes a hundred.
func TestValuesAreBoundedByTheirBytes(t *testing.T) {
	networks := func(n int, network string) []byte {
		return []byte(`{"networks":[` + strings.Repeat(network+",", n-1) + network + `]}`)
	}
	key := Key{Platform, KindMap, "m"}
	for _, c := range []struct {
		n       int
		network string
		refused bool
	}{
		{leastNodes / 2, `0`, false}, {2 * leastNodes, `0`, true}, {2 * leastNodes, `"192.0.2.0/24"`, false},
		{20 * leastNodes, `"::/0"`, true},
	} {
		_, err := DecodeSpec(key, networks(c.n, c.network))
		if got := err != nil && strings.Contains(err.Error(), "values in"); got != c.refused {
			t.Errorf("%d of %s: %v", c.n, c.network, got)
		}
	}
	_, err := DecodeSpec(Key{"shop", KindPool, "p"}, []byte(`{"endpoints":[`+strings.Repeat(`{"name":"a"},`, maxParts)+`{}]}`))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has %d parts", maxParts+1)) {
		t.Errorf("too many parts: %.200v", err)
	}
}

// TestKeysAreBounded: a name of megabytes stood in every fault of its resource.
func TestKeysAreBounded(t *testing.T) {
	long := strings.Repeat("x", maxKeyText+1)
	for _, key := range []Key{{long, KindPool, "p"}, {"shop", Kind(long), "p"}, {"shop", KindPool, long}} {
		r, err := DecodeSpec(key, []byte(`{}`))
		if r != nil || err == nil || !strings.Contains(err.Error(), "at most 1024 bytes") || len(err.Error()) > 300 {
			t.Errorf("%.20s: %v, %.300v", key, r, err)
		}
	}
	if _, err := DecodeSpec(Key{"shop", KindPool, long[:maxKeyText]}, []byte(`{}`)); err != nil {
		t.Errorf("as long as may be: %.100v", err) // that it is no name is for Validate to say
	}
}

// TestDecodeSpecIsStrict, as DecodeJSON is.
func TestDecodeSpecIsStrict(t *testing.T) {
	for in, want := range map[string]string{
		``: "spec: is missing", `{`: "not valid JSON", `{"sites":"a"}`: "unknown field", `{} {}`: "something follows",
		`5`: "wants a mapping",
	} {
		var data []byte
		if in != "" {
			data = []byte(in)
		}
		if _, err := DecodeSpec(Key{"shop", KindPool, "p"}, data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %q", in, err, want)
		}
	}
	r, err := DecodeSpec(Key{"shop", KindPool, "p"}, []byte(`{"site":"fra"}`))
	if err != nil || r.Key != (Key{"shop", KindPool, "p"}) || r.Spec.(*Pool).Site != "fra" {
		t.Errorf("%+v, %v", r, err)
	}
}
