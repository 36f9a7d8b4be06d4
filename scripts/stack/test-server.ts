import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cacheDir } from './cache.ts';
import { runInstaller } from './install.ts';

export interface MavenOptions {
  version: string;
  /** Absolute; made whole at once. */
  folder: string;
  java: string;
  mvn: string;
}

/** Fetches io.temporal:temporal-test-server with what it depends on, and writes the script that runs it. */
export async function assembleFromMaven({ version, folder, java, mvn }: MavenOptions): Promise<void> {
  const scratch = `${folder}.${process.pid}.part`;
  await rm(scratch, { recursive: true, force: true });
  await mkdir(path.join(scratch, 'lib'), { recursive: true });
  try {
    await writeFile(path.join(scratch, 'pom.xml'), pom(version));
    const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
    await runInstaller(
      mvn,
      ['-B', '-q', '-ntp', goal, '-DincludeScope=runtime', `-DoutputDirectory=${path.join(scratch, 'lib')}`],
      {
        cwd: scratch,
        logFile: cacheDir('logs', 'temporal-test-server.log'),
      },
    );
    // One server per test file: a small heap, and no time spent on optimising compilers.
    const script = `#!/bin/sh\nexec '${java}' -XX:TieredStopAtLevel=1 -Xmx256m -cp '${folder}/lib/*' io.temporal.testserver.TestServer "$@"\n`;
    await writeFile(path.join(scratch, 'temporal-test-server'), script, { mode: 0o755 });
    await rm(folder, { recursive: true, force: true });
    await rename(scratch, folder);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function pom(version: string): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>temporal-test-server</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId><version>${version}</version>
    </dependency>
  </dependencies>
</project>
`;
}
