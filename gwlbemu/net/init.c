// Process 1 of an instance: reaps whoever is left to it, and is what everything in there lives by. No signal ends it
// but SIGKILL from outside.
#include <signal.h>
#include <sys/wait.h>

int main(void)
{
	sigset_t all, child;
	int number;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, 0);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		while (waitpid(-1, 0, WNOHANG) > 0)
			;
		sigwait(&child, &number);
	}
}
