const head = `# Benchmarks

What \`npm run bench\` wrote, section by section: this project beside other tools on the same data, in one run, each several times in turn. The run with the median wall time counts; CPU and memory are of whole processes; before each run the disk is let finish what came before. Machines differ and are noisy: the ratios are what to read.
`;

/** The page with these sections in the place of those of the same name; new ones come last. */
export function replaceSections(page: string, sections: Record<string, string>): string {
  const kept = Object.fromEntries(
    page
      .split(/^<!-- (?=\w+ -->$)/m)
      .slice(1)
      .map((text) => {
        const [name = '', ...lines] = text.split('\n');
        return [name.replace(' -->', ''), lines.join('\n').trim()];
      }),
  );
  const all = Object.entries({ ...kept, ...sections });
  return [head, ...all.map(([name, text]) => `<!-- ${name} -->\n${text.trim()}\n`)].join('\n');
}
