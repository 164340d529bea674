// Command policy-svc answers: who must enrol, who must give a code, who may pass, and what has happened?
package main

import (
	"os"

	"sallyport/pkg/service"
	"sallyport/services/policy-svc/policy"
)

func main() { os.Exit(service.Main[policy.Settings]("policy-svc", policy.Start)) }
