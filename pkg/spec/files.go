package spec

import "path"

// ResolveFiles puts the content of the files that zones name into them. read gets the folder that declared a zone (that of
// Origin.File) and the name of the file there, as it was written: it decides what may be read. File stays, to be named
// in messages; it is not stored. Resources without a file are given back as they are, the others as changed copies. The
// error is an Errors.
func ResolveFiles(resources []*Resource, read func(folder, name string) ([]byte, error)) ([]*Resource, error) {
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
		content, err := read(path.Dir(r.Origin.File), z.File)
		switch {
		case err != nil:
			errs.add(faultOf(r, "spec.file", "", "%v", err))
			continue
		case len(content) == 0:
			errs.add(faultOf(r, "spec.file", "", "%s is empty", z.File))
			continue
		}
		resolved, copied := *z, *r
		resolved.Content = string(content)
		copied.Spec = &resolved
		out[i] = &copied
	}
	return out, errs.orNil()
}
