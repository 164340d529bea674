package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/clock"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// provisionCommand is `sallyport provision`.
type provisionCommand struct {
	Dir          string   `help:"Directory that gets a directory for each part." required:"" type:"path"`
	NATSHosts    []string `name:"nats-hosts" help:"Names by which NATS is reached; they stand in its certificate." default:"nats-1,nats-2,nats-3"`
	MongoDBHosts []string `name:"mongodb-hosts" help:"Members of the MongoDB replica set, host:port." default:"mongodb-1:27017,mongodb-2:27017,mongodb-3:27017"`
	SeenAt       string   `help:"Where each part sees its own directory; by default where it is."`
	Owner        string   `help:"UID:GID that gets the directories of Sallyport and NATS, where this runs as root."`
	MongoDBOwner string   `name:"mongodb-owner" help:"UID:GID that gets the directory of MongoDB."`
	HandOver     []string `help:"Further directories that get --owner, such as those where NATS keeps its streams." type:"path"`
}

// Help is the long help.
func (*provisionCommand) Help() string {
	return `Makes all that the parts of an installation on servers of its own must not share: a key file and passwords for each service, users of NATS, an authority with certificates for NATS and MongoDB. What is there is kept; certificates are made again when 90 days are left. Run it once before the first start, and with each new version.

Each part gets its own directory and must see no other:

  auth-gateway/ policy-svc/ totp-svc/ sms-dispatcher/   key file, NATS password, mongodb.uri, ca.pem
  operator/ keeper/   the same for the operator's commands and for nats-prepare
  nats/ mongodb/      certificate with key, users, ca.pem
  keys/               for --keys of the operator's commands: names of the four key files
  ca/                 the authority. Only this command needs it: keep it with your backups`
}

// Run makes what is missing.
func (c *provisionCommand) Run() error {
	if err := c.make(clock.System()); err != nil {
		return fmt.Errorf("--dir %s: %w", c.Dir, err)
	}
	fmt.Printf("Keys, passwords and certificates are in %s. Keep a copy of it elsewhere: without the keys nothing that is kept can be opened.\n", c.Dir)
	return nil
}

func (c *provisionCommand) make(timepiece clock.Clock) error {
	owners := make(map[string]owner)
	for flag, text := range map[string]string{"--owner": c.Owner, "--mongodb-owner": c.MongoDBOwner} {
		o, err := parseOwner(text)
		if err != nil {
			return wrong("%s: %v", flag, err)
		}
		owners[flag] = o
	}
	passwords, err := c.keys()
	if err != nil {
		return err
	}
	// The authority is made after the keys: where it is, the keys were complete.
	a, err := openAuthority(filepath.Join(c.Dir, "ca"), timepiece.Now())
	if err != nil {
		return err
	}
	if err := errors.Join(c.nats(a, passwords), c.mongodb(a)); err != nil {
		return err
	}
	for _, u := range permit.Users() {
		if err := put(c.in(string(u), "ca.pem"), a.pem); err != nil {
			return err
		}
	}
	for _, part := range append(partNames(), "keys", "nats") {
		if err := owners["--owner"].take(filepath.Join(c.Dir, part)); err != nil {
			return err
		}
	}
	for _, dir := range c.HandOver {
		if err := owners["--owner"].take(dir); err != nil {
			return err
		}
	}
	return owners["--mongodb-owner"].take(filepath.Join(c.Dir, "mongodb"))
}

func (c *provisionCommand) in(path ...string) string {
	return filepath.Join(append([]string{c.Dir}, path...)...)
}

// seen is how a part sees a file of its own.
func (c *provisionCommand) seen(part, file string) string {
	if c.SeenAt != "" {
		return filepath.Join(c.SeenAt, file)
	}
	return c.in(part, file)
}

func partNames() []string {
	var out []string
	for _, u := range permit.Users() {
		out = append(out, string(u))
	}
	return out
}

// keys makes key files and NATS passwords, as `sallyport up` does, and moves each to the directory of its part. A name of
// it stays in keys/.
func (c *provisionCommand) keys() (permit.Passwords, error) {
	keys := c.in("keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, err
	}
	home := make(map[string]string) // file → part
	for _, s := range services() {
		home[string(s)+".json"] = string(s)
	}
	for _, u := range permit.Users() {
		home[filepath.Base(permit.PasswordFile("", u))] = string(u)
	}
	settle := func() error {
		for file, part := range home {
			if err := c.settle(file, part); err != nil {
				return err
			}
		}
		return nil
	}
	if err := settle(); err != nil { // what a run before this one left half done
		return nil, err
	}
	_, err := os.Stat(c.in("ca", "ca.pem"))
	if _, err := seal.Generate(keys, services(), err == nil); err != nil {
		return nil, wrong("%v", err)
	}
	passwords, err := permit.Generate(keys)
	if err != nil {
		return nil, err
	}
	return passwords, settle()
}

// settle moves a file from keys/ to the directory of its part, and leaves a link to it.
func (c *provisionCommand) settle(file, part string) error {
	if err := os.MkdirAll(c.in(part), 0o700); err != nil {
		return err
	}
	from, to := c.in("keys", file), c.in(part, file)
	info, err := os.Lstat(from)
	switch {
	case err == nil && info.Mode().IsRegular():
		if err := os.Rename(from, to); err != nil {
			return err
		}
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		return nil // not made yet
	}
	return os.Symlink(filepath.Join("..", part, file), from)
}

// nats writes what NATS is given: a certificate, the users with what they may do, and hashes of their passwords.
func (c *provisionCommand) nats(a *authority, passwords permit.Passwords) error {
	var conf strings.Builder
	fmt.Fprintln(&conf, "# Hashes of the passwords, for the users below. Made by \"sallyport provision\".")
	for _, u := range permit.Users() {
		// Random passwords need no slow hash; the server wants one.
		hash, err := bcrypt.GenerateFromPassword([]byte(passwords[u].Reveal()), bcrypt.MinCost)
		if err != nil {
			return fmt.Errorf("password of %s: %w", u, err)
		}
		fmt.Fprintf(&conf, "%s: \"%s\"\n", permit.Variable(u), hash)
	}
	// In one file: what is included does not see the variables of what includes it.
	fmt.Fprintf(&conf, "\n%s", permit.Conf())
	return errors.Join(
		a.issue(c.in("nats"), "nats", append(c.NATSHosts, "localhost", "127.0.0.1")),
		put(c.in("nats", "ca.pem"), a.pem),
		put(c.in("nats", "sallyport.conf"), []byte(conf.String())),
	)
}

// mongodb writes what MongoDB is given, and to each user how it is reached.
func (c *provisionCommand) mongodb(a *authority) error {
	names := []string{"localhost", "127.0.0.1"}
	for _, h := range c.MongoDBHosts {
		name, _, _ := strings.Cut(h, ":")
		names = append(names, name)
	}
	if err := a.issue(c.in("mongodb"), "mongodb", names); err != nil {
		return err
	}
	if err := errors.Join(
		put(c.in("mongodb", "ca.pem"), a.pem),
		join(c.in("mongodb", "mongodb-and-key.pem"), c.in("mongodb", "mongodb.pem"), c.in("mongodb", "mongodb.key")),
	); err != nil {
		return err
	}
	// By this the members know each other: 6 to 1024 characters of base64.
	if _, err := random(c.in("mongodb", "members.key")); err != nil {
		return err
	}
	// Who makes the users is a user, too.
	if _, err := random(c.in("mongodb", "admin.password")); err != nil {
		return err
	}
	users := store.Users(services())
	script, err := store.Script(users)
	if err != nil {
		return err
	}
	if err := put(c.in("mongodb", "users.js"), []byte(script)); err != nil {
		return err
	}
	for _, u := range users {
		password, err := random(c.in("mongodb", u.Name+".password"))
		if err != nil {
			return err
		}
		part := strings.TrimPrefix(u.Name, "sallyport-")
		uri := url.URL{
			Scheme: "mongodb", User: url.UserPassword(u.Name, password), Host: strings.Join(c.MongoDBHosts, ","), Path: "/",
			RawQuery: url.Values{
				"authSource": {"admin"}, "replicaSet": {"sallyport"}, "tls": {"true"}, "tlsCAFile": {c.seen(part, "ca.pem")},
			}.Encode(),
		}
		if err := put(c.in(part, "mongodb.uri"), []byte(uri.String()+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// random is the secret in a file, which is made where it is missing.
func random(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		text := rand.Text()
		return text, put(path, []byte(text+"\n"))
	}
	if text := strings.TrimSpace(string(raw)); err != nil || text != "" {
		return text, err
	}
	return "", fmt.Errorf("%s is empty; restore it, or delete it and make that user again", path)
}

// join writes the texts of some files into one.
func join(to string, from ...string) error {
	var all []byte
	for _, f := range from {
		raw, err := os.ReadFile(f) //nolint:gosec // made above
		if err != nil {
			return err
		}
		all = append(all, raw...)
	}
	return put(to, all)
}

// put writes a file of a part, mode 0600, whole or not at all; one with the same text is left alone.
func put(path string, raw []byte) error {
	if have, err := os.ReadFile(path); err == nil && string(have) == string(raw) { //nolint:gosec // the operator names the directory
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone when all went well
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// owner is who gets a directory with all that is in it; the zero value leaves it to who runs this.
type owner struct {
	set      bool
	uid, gid int
}

func parseOwner(text string) (owner, error) {
	if text == "" {
		return owner{}, nil
	}
	u, g, ok := strings.Cut(text, ":")
	uid, err := strconv.ParseUint(u, 10, 31)
	gid, err2 := strconv.ParseUint(g, 10, 31)
	if !ok || err != nil || err2 != nil {
		return owner{}, fmt.Errorf("%q is not UID:GID", text)
	}
	return owner{true, int(uid), int(gid)}, nil
}

func (o owner) take(dir string) error {
	if !o.set {
		return nil
	}
	root, err := os.OpenRoot(dir) // whoever had it before may have put links into it
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(path, o.uid, o.gid)
	})
	return errors.Join(err, root.Close())
}
