package plans

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Blame tells which of some versions of a resource, newest first, wrote each field of the newest at or below a path; "": of all. complete
// says that there are no older versions. records has the changes by their generations.
func Blame(versions []state.Version, path string, complete bool, records map[state.Generation]*api.Record) ([]api.FieldBlame, error) {
	if len(versions) == 0 || versions[0].Resource == nil {
		return nil, nil
	}
	data, err := versions[0].Resource.SpecJSON()
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	var fields []api.FieldBlame
	flatten("spec", tree, func(at string, value []byte) {
		if path == "" || covers(path, at) {
			fields = append(fields, api.FieldBlame{Path: at, Value: string(value)})
		}
	})
	by := make([]state.Generation, len(fields))
	for i := range versions {
		var before *spec.Resource
		if i+1 < len(versions) {
			before = versions[i+1].Resource
		} else if !complete {
			break
		}
		for _, ch := range spec.Diff(before, versions[i].Resource) {
			for f := range fields {
				if by[f] == 0 && (covers(ch.Path, fields[f].Path) || covers(fields[f].Path, ch.Path)) {
					by[f] = versions[i].Generation
				}
			}
		}
		if before == nil { // it was created here
			break
		}
	}
	for f := range fields {
		fields[f].Record = records[by[f]]
	}
	return fields, nil
}

// covers reports whether a path is another one, or stands above it.
func covers(path, below string) bool {
	rest, ok := strings.CutPrefix(below, path)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// flatten calls leaf for each field, with paths as in spec.Diff.
func flatten(path string, v any, leaf func(path string, value []byte)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			flatten(path+"."+k, v[k], leaf)
		}
		return
	case []any:
		names := map[string]bool{}
		for _, item := range v {
			if m, ok := item.(map[string]any); ok {
				if name, ok := m["name"].(string); ok && name != "" {
					names[name] = true
				}
			}
		}
		if len(names) == len(v) && len(v) > 0 {
			for _, item := range v {
				flatten(fmt.Sprintf("%s[%s]", path, item.(map[string]any)["name"]), item, leaf)
			}
			return
		}
	}
	value, _ := json.Marshal(v) // it was JSON
	leaf(path, value)
}
