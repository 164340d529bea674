package permit

import (
	"fmt"
	"strings"
)

// Account is the NATS account that Sallyport has for itself in [Conf].
const Account = "SALLYPORT"

// Conf is the part of a nats-server configuration that has the users, for a NATS of one's own. Passwords are not in it:
// it names an environment variable of the server for each.
func Conf() string {
	var out strings.Builder
	fmt.Fprintf(&out, `# Users and permissions of Sallyport, made by "sallyport nats-conf". Do not edit: make it again with each version, include
# it in the configuration of nats-server, and reload that:
#
#   jetstream { store_dir: "/var/lib/nats" }
#   include "sallyport.conf"
#
# Each password comes from an environment variable of nats-server, as random text or as the bcrypt hash of it
# ("nats server passwd" makes one; a hash needs quotes inside the variable: NAME='"$2a$11$..."').

accounts {
  %s {
    jetstream: enabled
    users: [
`, Account)
	for _, u := range Users() {
		p := Of(u)
		fmt.Fprintf(&out, "      {\n        user: %q\n        password: $%s\n        permissions: {\n", u, Variable(u))
		list(&out, "publish", p.Publish)
		list(&out, "subscribe", p.Subscribe)
		if p.Answers {
			fmt.Fprintf(&out, "          allow_responses: { max: 1, expires: %q }\n", AnswerWithin)
		}
		out.WriteString("        }\n      }\n")
	}
	out.WriteString("    ]\n  }\n}\n")
	return out.String()
}

// Variable is the environment variable by which [Conf] names the password of a user.
func Variable(u User) string {
	return "SALLYPORT_" + strings.ToUpper(strings.ReplaceAll(string(u), "-", "_")) + "_PASSWORD"
}

func list(out *strings.Builder, verb string, subjects []string) {
	fmt.Fprintf(out, "          %s: { allow: [\n", verb)
	for _, s := range subjects {
		fmt.Fprintf(out, "            %q\n", s)
	}
	out.WriteString("          ] }\n")
}
