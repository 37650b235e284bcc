package plans

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

func version(t *testing.T, at state.Generation, yaml string) state.Version {
	t.Helper()
	if yaml == "" {
		return state.Version{Generation: at}
	}
	return state.Version{Generation: at, Resource: declared.Resources(t, "kind: Service\ntenant: shop\nname: web\nspec: "+yaml+"\n")[0]}
}

func TestBlame(t *testing.T) {
	versions := []state.Version{ // newest first
		version(t, 9, "{host: web.example., ttl: 1m, rules: [{name: eu, ttl: 5s, pools: [eu]}, {name: rest, pools: [us, eu]}]}"),
		version(t, 7, "{host: web.example., ttl: 30s, rules: [{name: eu, ttl: 5s, pools: [eu]}, {name: rest, pools: [us, eu]}]}"),
		version(t, 6, "{host: web.example., ttl: 30s, rules: [{name: eu, pools: [eu]}, {name: rest, pools: [us]}]}"),
		version(t, 4, "{host: web.example., ttl: 30s, rules: [{name: rest, pools: [us]}]}"),
		version(t, 3, ""),
		version(t, 1, "{host: old.example., rules: [{pools: [eu]}]}"),
	}
	records := map[state.Generation]*api.Record{}
	for _, v := range versions {
		records[v.Generation] = &api.Record{Tenant: "shop", Generation: uint64(v.Generation)}
	}
	for _, c := range []struct {
		path     string
		of       []state.Version
		complete bool
		want     string
	}{
		{"", versions, true, "spec.host@4 spec.rules[eu].name@6 spec.rules[eu].pools@6 spec.rules[eu].ttl@7 spec.rules[rest].name@4 " +
			"spec.rules[rest].pools@7 spec.ttl@9"},
		{"spec.rules[eu]", versions, true, "spec.rules[eu].name@6 spec.rules[eu].pools@6 spec.rules[eu].ttl@7"},
		{"spec.rules", versions[:2], false, "spec.rules[eu].name@0 spec.rules[eu].pools@0 spec.rules[eu].ttl@0 spec.rules[rest].name@0 " +
			"spec.rules[rest].pools@0"},
		{"spec.ttl", versions[:2], false, "spec.ttl@9"},
		{"spec.tt", versions, true, ""},
		{"", versions[4:], true, ""},
	} {
		fields, err := Blame(c.of, c.path, c.complete, records)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, f := range fields {
			at := uint64(0)
			if f.Record != nil {
				at = f.Record.Generation
			}
			words = append(words, fmt.Sprintf("%s@%d", f.Path, at))
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%q of %d:\ngot  %s\nwant %s", c.path, len(c.of), got, c.want)
		}
	}
}

// FuzzInput reads what the store holds of a change that waits: whatever that is, it is a change or an error.
func FuzzInput(f *testing.F) {
	f.Add([]byte(`{"id":"a","tenant":"shop","put":[{"kind":"Pool","tenant":"shop","name":"eu","spec":{}}],"versions":{"x":1}}`))
	f.Add([]byte(`{"put":[null,{},7,"x"],"delete":[{"kind":"?"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p store.Pending
		if json.Unmarshal(data, &p) != nil {
			return
		}
		in, err := Input(&p, "bob")
		if shown := Pending(&p); len(shown.Put) > len(p.Put) {
			t.Errorf("%d resources of %d", len(shown.Put), len(p.Put))
		}
		if err == nil && (in.Edit == nil || in.Match == nil || in.Approved != "bob") {
			t.Errorf("got %+v", in)
		}
	})
}
