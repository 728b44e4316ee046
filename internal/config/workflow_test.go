package config

import (
	"slices"
	"strings"
	"testing"
)

func TestWorkflowEnv(t *testing.T) {
	lines := WorkflowEnv()
	for _, want := range []string{
		"DE_MACRS_PAT: ${{ secrets.DE_MACRS_PAT }}",
		"PAT_DESIRED_EFFECT: ${{ secrets.PAT_DESIRED_EFFECT }}",
		"IMAGE_NAME: ${{ vars.IMAGE_NAME }}",
		"GITHUB_TOKEN: ${{ github.token }}",
		"DEPLOY_SSH_KEY: ${{ secrets.DEPLOY_SSH_KEY }}",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the env has no %s", want)
		}
	}
	missing := map[string]bool{}
	for _, k := range Schema() {
		for _, name := range []string{k.Name, k.Alias} {
			n := 0
			for _, line := range lines {
				if strings.HasPrefix(line, name+": ") {
					n++
				}
			}
			switch {
			case name == "":
			case n == 0:
				missing[name] = true
			case n > 1:
				t.Errorf("%s is there %d times", name, n)
			}
		}
	}
	elsewhere := []string{"DE_SITE_VERSION", "APPS_FILE", "GITHUB_API_URL", "DEPLOY_SSH_KEY_FILE", "DEPLOY_KNOWN_HOSTS_FILE", "SIGNING_KEY_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE",
		"DAGGER_RUNNER_HOST", "_EXPERIMENTAL_DAGGER_RUNNER_HOST", "DAGGER_CLI_BIN", "_EXPERIMENTAL_DAGGER_CLI_BIN", "SANDBOX"}
	for _, name := range elsewhere {
		if !missing[name] {
			t.Errorf("%s is in the env, but comes from elsewhere", name)
		}
		delete(missing, name)
	}
	for name := range missing {
		t.Errorf("%s is missing", name)
	}
}

// Going back hands over the way to the host and what the run there reads: no
// other secret, and nothing of which a half would stand in the way.
func TestRollbackEnv(t *testing.T) {
	want := []string{
		"DEPLOY_HOST: ${{ vars.DEPLOY_HOST }}",
		"DEPLOY_PORT: ${{ vars.DEPLOY_PORT }}",
		"DEPLOY_USER: ${{ vars.DEPLOY_USER }}",
		"DEPLOY_SSH_KEY: ${{ secrets.DEPLOY_SSH_KEY }}",
		"DEPLOY_SSH_KEY_PASSPHRASE: ${{ secrets.DEPLOY_SSH_KEY_PASSPHRASE }}",
		"DEPLOY_KNOWN_HOSTS: ${{ vars.DEPLOY_KNOWN_HOSTS }}",
		"DEPLOY_JUMP_HOST: ${{ vars.DEPLOY_JUMP_HOST }}",
		"DEPLOY_DIR: ${{ vars.DEPLOY_DIR }}",
		"DEPLOY_STRATEGY: ${{ vars.DEPLOY_STRATEGY }}",
		"BACKUP_FILES: ${{ vars.BACKUP_FILES }}",
		"DRAIN_SECONDS: ${{ vars.DRAIN_SECONDS }}",
		"KEEP_RELEASES: ${{ vars.KEEP_RELEASES }}",
		"HOOKS_DIR: ${{ vars.HOOKS_DIR }}",
		"COMPOSE_PROJECT_NAME: ${{ vars.COMPOSE_PROJECT_NAME }}",
		"SITE_NAME: ${{ vars.SITE_NAME }}",
		"HTTP_PORT: ${{ vars.HTTP_PORT }}",
		"TLS: ${{ vars.TLS }}",
	}
	if got := RollbackEnv(); !slices.Equal(got, want) {
		t.Errorf("a rollback gets\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
