package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"
)

//go:embed static
var staticFiles embed.FS

// Static is the files as they lie in static/, under their plain names.
func Static() fs.FS {
	sub, err := fs.Sub(staticFiles, "static")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

type asset struct {
	url, contentType string
	body             []byte
}

// assets are the files by plain name, and by the name in their URL.
var assets, assetsByURL = func() (plain, hashed map[string]asset) {
	plain, hashed = map[string]asset{}, map[string]asset{}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	files, err := fs.ReadDir(Static(), ".")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		body, err := fs.ReadFile(Static(), f.Name())
		if err != nil {
			panic(err)
		}
		ext := path.Ext(f.Name())
		name := strings.TrimSuffix(f.Name(), ext) + "." + fingerprint(body) + ext
		a := asset{"/static/" + name, types[ext], body}
		plain[f.Name()], hashed[name] = a, a
	}
	return plain, hashed
}()

func fingerprint(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:6])
}

// StaticPath is the URL of a file, with a hash of its content in the name: what it names never changes, and may be
// cached for ever. It is empty for a file that does not exist.
func StaticPath(name string) string { return assets[name].url }

// StaticFile is the content behind such a URL, given whole or as the part after /static/. It is not ok for any other
// name, the hash of an older build included.
func StaticFile(urlName string) (body []byte, contentType string, ok bool) {
	a, ok := assetsByURL[strings.TrimPrefix(urlName, "/static/")]
	return a.body, a.contentType, ok
}
