package spec

import "path"

// ResolveFiles puts the content of the files that zones name into them. read gets the name of a file as
// seen from the folder that declared it: the folder of Origin.File and spec.file joined by slashes; absolute
// names stay. File stays too, to be named in messages; it is not stored. Resources without a file are given back as they are, the others as changed copies. The
// error is an Errors.
func ResolveFiles(resources []*Resource, read func(name string) ([]byte, error)) ([]*Resource, error) {
	var errs Errors
	out := make([]*Resource, len(resources))
	for i, r := range resources {
		out[i] = r
		z, ok := r.Spec.(*Zone)
		if !ok || z.File == "" {
			continue
		}
		if z.Content != "" {
			errs.add(faultOf(r, "spec.file", "remove one of them", "stands beside spec.content"))
			continue
		}
		name := z.File
		if !path.IsAbs(name) {
			name = path.Join(path.Dir(r.Origin.File), name)
		}
		content, err := read(name)
		switch {
		case err != nil:
			errs.add(faultOf(r, "spec.file", "", "%v", err))
			continue
		case len(content) == 0:
			errs.add(faultOf(r, "spec.file", "", "%s is empty", name))
			continue
		}
		resolved, copied := *z, *r
		resolved.Content = string(content)
		copied.Spec = &resolved
		out[i] = &copied
	}
	return out, errs.orNil()
}
